"""Trained runs that come with the package."""

from importlib.resources import files
from pathlib import Path

from sttrans_core.forecaster import Forecaster, load_run
from sttrans_core.runs import RunError

__all__ = ["list_pretrained", "load_pretrained"]


def list_pretrained() -> dict[str, list[str]]:
    """List the bundled runs.

    Returns:
        Names of the variants of each dataset.
    """
    root = Path(str(files(__name__)))
    runs = sorted(path.parent for path in root.glob("*/*/model.safetensors"))
    found: dict[str, list[str]] = {}
    for run in runs:
        found.setdefault(run.parent.name, []).append(run.name)
    return {name: sorted(found[name], key=lambda v: (v != "full", v)) for name in sorted(found)}


def load_pretrained(name: str, variant: str = "full", *, device: str = "auto") -> Forecaster:
    """Load a bundled run.

    Args:
        name: Dataset it was trained on, for example `simulated-freeway`.
        variant: Ablation variant.
        device: `auto`, `cpu` or `cuda`.

    Returns:
        The forecaster.

    Raises:
        RunError: There is no such run.
    """
    found = list_pretrained()
    if variant not in found.get(name, []):
        known = "; ".join(f"{key}: {', '.join(values)}" for key, values in found.items())
        raise RunError(
            f"A pretrained run must be one of the bundled ones ({known}); got {name!r} with "
            f"variant {variant!r}. Choose one of them, or train your own."
        )
    return load_run(Path(str(files(__name__))) / name / variant, device=device)
