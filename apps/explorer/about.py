"""The page about what is shown: the data, how errors are measured, and what not to conclude."""

from html import escape

import pandas as pd
import panel as pn
import param
from panel.viewable import Viewer

from explorer.evidence import Evidence
from explorer.state import ExplorerState
from sttrans_core import VARIANTS, data_card
from sttrans_core.data.splits import split_name
from stviz.theme import Theme, get_theme

__all__ = ["AboutView"]

LIMITS = """
An alignment says what the model weighed, not what caused the readings. Only on simulated data is
the true cause known; there the line below the cube says how often it was found, beside chance.

The picture shows the k sources that were kept. The covered mass is the share of dense attention,
over every observed place and time step, that falls on them.

On grids a forecast also takes what lies around a cell, without a source. There the line below the
cube says what the sources forecast alone. Far from the forecast, they are not its whole reason;
close to it, that is no proof, because everything that the model sees has a say in their choice.

A retrained variant has weights of its own. A live switch changes what one set of weights may look
at: forecast, map, band and alignment follow it at once, the band with the width that it was trained
to. The scores stay those of the model as trained. A model that was never trained without a part may
miss it more than one that was: what a part is worth, the retrained variants say.

Late, missing or noisy readings, and hidden places, are of this moment alone. Robustness over the
whole test part is what 'evaluate --robustness' measures.

Errors count observed targets only, pooled over the whole test part, at each lead time alone:
"60 min" is the last step, not a mean. One seed unless it says otherwise.

Bands are calibrated on the validation part: right on average over time, not for every hour.

Moments in the training part were seen by the model, so its forecasts there look too good.
"""


class AboutView(Viewer):
    """Data card, protocol, variants and limits.

    Args:
        state: The selection and its evidence.
    """

    state = param.ClassSelector(class_=ExplorerState, doc="The selection and its evidence.")

    def __init__(self, state: ExplorerState, **params: object) -> None:
        super().__init__(state=state, **params)
        self.text = pn.pane.HTML("", sizing_mode="stretch_width", margin=(4, 16))
        state.param.watch(self.refresh, ["evidence", "theme"])
        self.refresh()

    def refresh(self, *_events: param.parameterized.Event) -> None:
        """Write the page for the evidence that is shown."""
        if self.state.evidence is not None:
            self.text.object = _about_html(self.state.evidence, get_theme(self.state.theme))

    def __panel__(self) -> pn.viewable.Viewable:
        return self.text


def _about_html(evidence: Evidence, colors: Theme) -> str:
    card = _rows(data_card(evidence.dataset).to_dict())
    variants = _rows({name: variant.question for name, variant in VARIANTS.items()})
    limits = "".join(
        f"<li style='margin-bottom:6px'>{escape(line)}</li>" for line in LIMITS.split("\n\n")
    )
    return (
        f"<style>td {{ padding: 3px 14px 3px 0; vertical-align: top; font-size: 13px }} "
        f"h3 {{ margin: 18px 0 6px; font-size: 15px }}</style>"
        f"<div style='color:{colors.text};max-width:900px;line-height:1.45'>"
        f"<h3>Before you trust it</h3><ul style='padding-left:18px'>{limits}</ul>"
        f"<h3>The data</h3><table>{card}</table>"
        f"<h3>The run</h3><table>{_rows(_describe_run(evidence))}</table>"
        f"<h3>Retrained variants, and the question that each answers</h3>"
        f"<table>{variants}</table></div>"
    )


def _describe_run(evidence: Evidence) -> dict[str, object]:
    forecaster = evidence.forecaster
    if forecaster is None:
        return {"run": "none chosen"}
    config, scores = forecaster.config, forecaster.scores
    return {
        "variant": f"{config.label}, preset {config.preset_name}",
        "configuration": config.hash,
        "windows": f"{config.data.history_steps} steps in, {config.data.horizon_steps} steps out, "
        f"{split_name(config.data.split)}",
        "protocol": "not scored" if scores is None else scores.attrs["protocol"],
        "epochs trained": len(forecaster.history),
        "device": str(forecaster.device),
    }


def _rows(fields: dict[str, object]) -> str:
    cells = pd.Series(fields).astype(str)
    return "".join(
        f"<tr><td><b>{escape(str(name))}</b></td><td>{escape(value)}</td></tr>"
        for name, value in cells.items()
    )
