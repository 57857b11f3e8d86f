"""Run folders: plain JSON beside weights without pickle, written whole or not at all."""

import hashlib
import json
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from sttrans_core.config import ExperimentConfig

__all__ = ["RunError", "RunFolder", "fingerprint"]


class RunError(ValueError):
    """A run folder is incomplete, does not fit, or cannot be written."""


def fingerprint(dataset: xr.Dataset) -> str:
    """Give sixteen characters that identify readings, times and nodes.

    Args:
        dataset: A labelled dataset.

    Returns:
        The start of a SHA-256 digest.
    """
    digest = hashlib.sha256()
    digest.update(np.ascontiguousarray(dataset["target"].values.astype("<f4")).tobytes())
    digest.update(dataset["time"].values.astype("datetime64[ns]").astype("<i8").tobytes())
    digest.update("\n".join(dataset["node"].values.tolist()).encode())
    return digest.hexdigest()[:16]


class RunFolder:
    """The files of one run.

    `config.json`, `data.json` (nodes, scaling, units, fingerprint), `environment.json`,
    `history.jsonl` (a line per epoch), `status.json`, `scores.csv`, `model.safetensors` (the best
    weights and the prediction bands) and `checkpoint.safetensors` (what resuming needs).

    Args:
        path: The folder; it need not exist before `create`.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    def __truediv__(self, name: str) -> Path:
        return self.path / name

    def create(self) -> None:
        """Make the folder and prove that it can be written.

        Raises:
            RunError: It is a file, or cannot be written.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            probe = self.path / ".write-test"
            probe.write_text("")
            probe.unlink()
        except OSError as error:
            raise RunError(
                f"The run folder must be a folder that can be written; got {self.path} "
                f"({error.strerror}). Choose another run_dir."
            ) from error

    def write_json(self, name: str, fields: dict[str, Any]) -> None:
        """Write a JSON file so that a reader never sees half of it."""
        self._replace(name, json.dumps(fields, indent=2) + "\n")

    def write_text(self, name: str, text: str) -> None:
        """Write a text file so that a reader never sees half of it."""
        self._replace(name, text)

    def _replace(self, name: str, text: str) -> None:
        temporary = self.path / f".{name}.part"
        temporary.write_text(text)
        temporary.replace(self.path / name)

    def read_json(self, name: str) -> dict[str, Any]:
        """Read a JSON file of the run.

        Raises:
            RunError: It is missing or is not JSON.
        """
        path = self.path / name
        try:
            return json.loads(path.read_text())
        except FileNotFoundError as error:
            raise RunError(
                f"A run folder must hold {name}; got {self.path} without it. "
                "Point at a folder made by train, or train again."
            ) from error
        except json.JSONDecodeError as error:
            raise RunError(
                f"{name} of a run must be JSON; got an unreadable file in {self.path}. Train again."
            ) from error

    def append_history(self, row: dict[str, Any]) -> None:
        """Add the line of one epoch to `history.jsonl`."""
        with (self.path / "history.jsonl").open("a") as file:
            file.write(json.dumps(row) + "\n")

    def history(self) -> list[dict[str, Any]]:
        """Read the epochs so far; empty where there are none."""
        path = self.path / "history.jsonl"
        if not path.exists():
            return []
        return [json.loads(line) for line in path.read_text().splitlines() if line.strip()]

    def config(self) -> ExperimentConfig:
        """Read the configuration.

        Raises:
            RunError: It is missing or unreadable.
            ConfigError: It has unknown or invalid fields.
        """
        return ExperimentConfig.parse(self.read_json("config.json"))

    def save_tensors(self, name: str, tensors: dict[str, Tensor]) -> None:
        """Write tensors as safetensors, whole or not at all."""
        temporary = self.path / f".{name}.part"
        save_file({key: value.detach().cpu().contiguous() for key, value in tensors.items()},
                  temporary)  # fmt: skip
        temporary.replace(self.path / name)

    def load_tensors(self, name: str) -> dict[str, Tensor]:
        """Read tensors written by `save_tensors`.

        Raises:
            RunError: The file is missing or damaged.
        """
        path = self.path / name
        if not path.exists():
            raise RunError(
                f"A run folder must hold {name}; got {self.path} without it. "
                "Finish the training (resume=True) or train again."
            )
        try:
            return load_file(path)
        except SafetensorError as error:
            raise RunError(
                f"{name} must be a whole safetensors file; got a damaged one in {self.path} "
                f"({error}). Train again."
            ) from error

    def write_environment(self) -> None:
        """Record versions and the machine's kind, so that a number can be traced."""
        packages = {}
        for name in ("sttrans", "torch", "numpy", "xarray", "lightning-fabric"):
            try:
                packages[name] = version(name)
            except PackageNotFoundError:
                packages[name] = "not installed"
        self.write_json(
            "environment.json",
            {
                "python": platform.python_version(),
                "system": f"{platform.system()} {platform.machine()}",
                "threads": torch.get_num_threads(),
                "cuda": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
                "packages": packages,
            },
        )
