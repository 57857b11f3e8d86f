"""Pictures of forecasts and alignments: labelled data in, a native figure out.

Every drawing takes the data first and everything else by keyword, returns the native object
(HoloViews, Plotly, folium, ipywidgets, pandas, or a page of its own) and never shows it. Drawing
libraries are imported with the first function that needs them.
"""

from importlib import import_module
from typing import Any

__all__ = [
    "alignment_table",
    "alignment_widget",
    "animate_forecast",
    "folium_forecast_map",
    "node_at",
    "nodes_within",
    "plot_alignment_cube",
    "plot_alignment_heads",
    "plot_alignment_map",
    "plot_alignment_profile",
    "plot_base_map",
    "plot_benchmark",
    "plot_deletion",
    "plot_errors",
    "plot_forecast_map",
    "plot_readings",
    "plot_results",
    "plot_scores",
    "plot_series",
    "plot_training",
    "prepare_alignment",
    "prepare_alignment_heads",
    "prepare_alignment_profile",
    "prepare_errors",
    "prepare_forecast_map",
    "prepare_regions",
    "prepare_scores",
    "prepare_series",
    "scores_table",
]

_HOMES = {
    "alignment_table": "tables",
    "alignment_widget": "widgets",
    "animate_forecast": "animation",
    "folium_forecast_map": "folium_maps",
    "node_at": "geography",
    "nodes_within": "regions",
    "plot_alignment_cube": "alignment_cube",
    "plot_alignment_heads": "heads",
    "plot_alignment_map": "alignment_map",
    "plot_alignment_profile": "profile",
    "plot_base_map": "maps",
    "plot_benchmark": "benchmark",
    "plot_deletion": "scores",
    "plot_errors": "errors",
    "plot_forecast_map": "maps",
    "plot_readings": "readings",
    "plot_results": "result_tables",
    "plot_scores": "scores",
    "plot_series": "series",
    "plot_training": "scores",
    "prepare_alignment": "prepare_sources",
    "prepare_alignment_heads": "heads",
    "prepare_alignment_profile": "profile",
    "prepare_errors": "errors",
    "prepare_forecast_map": "prepare",
    "prepare_regions": "regions",
    "prepare_scores": "prepare",
    "prepare_series": "prepare",
    "scores_table": "tables",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'stviz' has no attribute {name!r}")
    try:
        value = getattr(import_module(f"stviz.{_HOMES[name]}"), name)
    except ModuleNotFoundError as error:
        raise ImportError(
            f"stviz.{name} needs {error.name}, which is not installed. "
            "Install the extra: pip install 'sttrans[viz]'."
        ) from error
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
