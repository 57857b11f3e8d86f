"""How the page looks: its colours, and the cards that its views lie in."""

from typing import Any

import panel as pn

__all__ = ["CARDS", "HIGH", "LOW", "ON_BAR", "THEMES", "card", "waiting"]

# Two columns where there is room for them, one on a narrow screen.
CARD = {"flex": "1 1 460px", "min-width": "0"}
HIGH, LOW = "calc(56vh - 46px)", "calc(44vh - 46px)"
PHONE = "@media (max-width: 700px)"
ON_BAR = {
    PHONE: {"margin": "0 !important", "& .MuiToggleButton-root": {"px": "5px", "fontSize": "11px"}},
    "& .MuiToggleButton-root": {
        "color": "#fff", "borderColor": "rgba(255, 255, 255, 0.5)", "py": "2px",
        "textTransform": "none", "whiteSpace": "nowrap",
        "&.Mui-selected, &.Mui-selected:hover, &.Mui-selected.Mui-focusVisible": {
            "color": "#fff !important", "backgroundColor": "rgba(0, 0, 0, 0.35) !important",
        },
    }
}  # fmt: skip
CARDS = {"map": HIGH, "alignment": HIGH, "series": LOW, "sources": LOW, "scores": "340px"}
# The pages' own colours behind the figures, so that a figure has no edge; then those of labels and
# of buttons, which would keep those of the light page.
COLORS = {"light": ("#ffffff", "#5b6168", "#0072b2"), "dark": ("#14171a", "#b4bac1", "#90caf9")}
THEMES = {
    name: {
        "palette": {"background": {"paper": paper, "default": paper}},
        "typography": {"fontFamily": "system-ui, sans-serif", "fontSize": 13},
        "components": {
            "MuiToolbar": {"styleOverrides": {"root": {"minHeight": "48px !important"}}},
            # The names of the pages need the room of the title on a phone.
            "MuiAppBar": {"styleOverrides": {"root": {PHONE: {"& .title": {"display": "none"}}}}},
            "MuiInputLabel": {"styleOverrides": {"root": {"color": f"{label} !important"}}},
            "MuiButton": {"styleOverrides": {"outlined": {"color": button}}},
        },
    }
    for name, (paper, label, button) in COLORS.items()
}


def waiting(text: str) -> pn.pane.HTML:
    """Say what is on its way."""
    # No animation: drawn in software, it would take the time that it bridges.
    return pn.pane.HTML(
        f"<p style='opacity:0.75;padding:12px;margin:0'>{text}</p>", sizing_mode="stretch_width"
    )


def card(height: str, *content: Any) -> pn.Column:
    """Give a place for a view.

    Args:
        height: As CSS has it.
        content: What lies in it from the start; else it says that it waits.
    """
    return pn.Column(
        *(content or [waiting("Loading the model and the readings.")]),
        margin=0,
        styles={
            **CARD,
            "height": height,
            "min-height": "280px",
            "border": "1px solid rgba(128, 128, 128, 0.3)",
            "border-radius": "6px",
            "overflow": "hidden",
        },
        sizing_mode="stretch_both",
    )
