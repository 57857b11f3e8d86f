"""The form of a training: data, model, budget, and where it is trained."""

import os
import re
import time
from pathlib import Path
from typing import Any

import panel as pn
import panel_material_ui as pmui
import param
import torch
from panel.viewable import Viewer

from explorer.state import ExplorerState
from sttrans_core import PRESETS, VARIANTS, ExperimentConfig

__all__ = ["TrainingForm"]

FIELD = {"sizing_mode": "stretch_width", "margin": (6, 10), "size": "small"}
SCHEDULERS = "STTRANS_SCHEDULERS"  # addresses with commas between them
STEM_LENGTH = 48  # of a suggested name, which gets a time


class TrainingForm(Viewer):
    """What a training shall be.

    Args:
        state: The selection; its folder of runs is where trainings go.
    """

    state = param.ClassSelector(class_=ExplorerState, doc="The selection and its evidence.")

    def __init__(self, state: ExplorerState, **params: Any) -> None:
        super().__init__(state=state, **params)
        questions = {f"{name}: {VARIANTS[name].question}": name for name in VARIANTS}
        self.data = pmui.Select(label="Data", **FIELD)
        self._follow()
        state.param.watch(self._follow, "dataset_name")
        state.param.watch(self._follow, "dataset_name", what="objects")
        self.variant = pmui.Select(label="Variant", options=questions, value="full", **FIELD)
        self.preset = pmui.Select(
            label="Preset", options=list(PRESETS), value="small",
            description="How large the model is; small trains on a laptop.", **FIELD,
        )  # fmt: skip
        self.epochs = pmui.IntInput(label="Epochs at most", value=10, start=1, end=1000, **FIELD)
        self.batch = pmui.IntInput(
            label="Windows per update", value=32, start=1, end=1024,
            description="The weights change after as many windows.", **FIELD,
        )  # fmt: skip
        self.windows = pmui.IntInput(
            label="Windows per epoch (0: all)", value=0, start=0, end=1_000_000,
            description="Fewer, chosen at random, make shorter epochs.", **FIELD,
        )  # fmt: skip
        self.seed = pmui.IntInput(label="Seed", value=0, start=0, end=10**6, **FIELD)
        self.device = pmui.Select(label="Device", **FIELD)
        # A scheduler can run code in this server, so its owner names those to trust.
        named = [address.strip() for address in os.environ.get(SCHEDULERS, "").split(",")]
        self.scheduler = pmui.Select(
            label="Where", options={"this machine": "", **{name: name for name in named if name}},
            value="", visible=any(named),
            description="This machine, or the workers of a dask scheduler that sees the same "
            f"files; {SCHEDULERS} names which.", **FIELD,
        )  # fmt: skip
        self.name_ = pmui.TextInput(label="Name of the run", **FIELD)
        self.start = pmui.Button(
            label="Train", color="primary", icon="play_arrow", margin=(6, 10),
            sizing_mode="stretch_width",
        )  # fmt: skip
        for widget in (self.data, self.variant, self.seed):
            widget.param.watch(lambda _event: self.suggest_name(), "value")
        for widget in (self.data, self.preset):
            widget.param.watch(lambda _event: self._describe_window(), "value")
        self.scheduler.param.watch(lambda _event: self._offer_devices(), "value")
        self.suggest_name()
        self._describe_window()
        self._offer_devices()

    def suggest_name(self) -> None:
        """Fill in a name that no run has yet."""
        stem = re.sub(r"[^\w.-]+", "-", f"{Path(self.data.value).stem}-{self.variant.value}")
        stem = f"{stem[:STEM_LENGTH].lstrip('.-')}-{time.strftime('%m%d-%H%M%S')}"
        names = (stem, *(f"{stem}-{number}" for number in range(2, 100)))
        self.name_.value = next(
            (name for name in names if not (self.state.root / name).exists()), stem
        )

    def _follow(self, *_events: param.parameterized.Event) -> None:
        self.data.param.update(
            options=dict(self.state.param.dataset_name.names), value=self.state.dataset_name
        )

    def config(self) -> ExperimentConfig:
        """Give the configuration that the form describes.

        Raises:
            ConfigError: A value is out of range.
        """
        base = ExperimentConfig.preset(self.preset.value, dataset=self.data.value)
        train = {
            "epochs": self.epochs.value,
            "batch_size": self.batch.value,
            "seed": self.seed.value,
            "max_windows_per_epoch": self.windows.value or None,
            "device": self.device.value,
        }
        return base.variant(self.variant.value).replace({"train": train})

    def _describe_window(self) -> None:
        data = ExperimentConfig.preset(self.preset.value, dataset=self.data.value).data
        self.batch.description = (
            f"A window is {data.history_steps} steps of history with the {data.horizon_steps} "
            "steps that follow; the weights change after as many windows."
        )

    def _offer_devices(self) -> None:
        has_cuda = torch.cuda.is_available()
        if self.scheduler.value:
            options = {"auto: a GPU where the worker has one": "auto", "cpu": "cpu", "cuda": "cuda"}
        elif has_cuda:
            gpu = f"cuda ({torch.cuda.get_device_name()})"
            options = {f"auto: here {gpu}": "auto", "cpu": "cpu", gpu: "cuda"}
        else:
            options = {"auto: here the CPU, no GPU was found": "auto", "cpu": "cpu"}
        value = self.device.value if self.device.value in options.values() else "auto"
        self.device.param.update(options=options, value=value)

    def __panel__(self) -> pn.viewable.Viewable:
        return pn.Column(
            self.data, self.variant, self.preset, self.epochs, self.batch, self.windows,
            self.seed, self.device, self.scheduler, self.name_, self.start,
            sizing_mode="stretch_width", margin=0,
        )  # fmt: skip
