"""Run folders: plain JSON beside weights without pickle, written whole or not at all."""

import hashlib
import json
import os
import platform
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from sttrans_core.config import ConfigError, ExperimentConfig, config_hash
from sttrans_core.grid import as_nodes
from sttrans_core.slabs import slabs
from sttrans_core.whole_files import write_whole

__all__ = ["RunError", "RunFolder", "fingerprint"]


class RunError(ValueError):
    """A run folder is incomplete, does not fit, or cannot be written."""


def fingerprint(dataset: xr.Dataset) -> str:
    """Give sixteen characters that identify readings, times and nodes.

    Args:
        dataset: A labelled dataset of nodes or a grid.

    Returns:
        The start of a SHA-256 digest.
    """
    dataset, digest = as_nodes(dataset), hashlib.sha256()
    for slab in slabs(dataset["target"]):
        digest.update(np.ascontiguousarray(slab, dtype="<f4"))
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

    def holds(self, name: str) -> bool:
        """Tell whether a file of the run is there.

        Raises:
            RunError: The folder cannot be looked into.
        """
        try:
            return (self.path / name).exists()
        except OSError as error:
            raise self._unreadable(error) from error

    def check_resumable(self) -> None:
        """Refuse a folder in which no training was ever started.

        Raises:
            RunError: It holds no `config.json`, or cannot be looked into.
        """
        if not self.holds("config.json"):
            raise RunError(
                f"Resuming needs a run in its folder; got {self.path}, which holds none. "
                "Correct the folder, or leave resume (--resume) out to start a new run."
            )

    def _unreadable(self, error: OSError) -> RunError:
        return RunError(
            f"A run folder must be a folder that can be read; got {self.path} ({error.strerror}). "
            "Point at a folder made by train."
        )

    def write_json(self, name: str, fields: dict[str, Any]) -> None:
        """Write a JSON file so that a reader never sees half of it."""
        self.write_text(name, json.dumps(fields, indent=2) + "\n")

    def write_text(self, name: str, text: str) -> None:
        """Write a text file so that a reader never sees half of it."""
        write_whole(self.path / name, text)

    def read_json(self, name: str) -> dict[str, Any]:
        """Read a JSON file of the run.

        Raises:
            RunError: It is missing, cannot be read, or is not a JSON object.
        """
        path = self.path / name
        try:
            fields = json.loads(path.read_text())
        except FileNotFoundError as error:
            raise RunError(
                f"A run folder must hold {name}; got {self.path} without it. "
                "Point at a folder made by train, or train again."
            ) from error
        except OSError as error:
            raise self._unreadable(error) from error
        except ValueError as error:  # not JSON, or not even text
            raise self._damaged(name) from error
        if not isinstance(fields, dict):
            raise self._damaged(name)
        return fields

    def _damaged(self, name: str) -> RunError:
        return RunError(
            f"{name} of a run must be JSON; got an unreadable file in {self.path}. Train again."
        )

    def append_history(self, row: dict[str, Any]) -> None:
        """Add the line of one epoch to `history.jsonl`."""
        with (self.path / "history.jsonl").open("a") as file:
            file.write(json.dumps(row) + "\n")

    def keep_history(self, num_epochs: int) -> None:
        """Drop the lines of epochs that a checkpoint does not know of."""
        if self.holds("history.jsonl"):
            lines = (self.path / "history.jsonl").read_text().splitlines(keepends=True)
            self.write_text("history.jsonl", "".join(lines[:num_epochs]))

    def history(self) -> list[dict[str, Any]]:
        """Read the epochs so far; empty where there are none.

        A last line that is still being written, or was when the machine stopped, is left out.

        Raises:
            RunError: The file is damaged.
        """
        if not self.holds("history.jsonl"):
            return []
        try:
            whole = (self.path / "history.jsonl").read_text().rpartition("\n")[0]
            rows = [json.loads(line) for line in whole.splitlines() if line.strip()]
        except OSError as error:
            raise self._unreadable(error) from error
        except ValueError as error:
            raise self._damaged("history.jsonl") from error
        if not all(isinstance(row, dict) and "epoch" in row for row in rows):
            raise self._damaged("history.jsonl")
        return rows

    def config(self) -> ExperimentConfig:
        """Read the configuration.

        Raises:
            RunError: It is missing or unreadable.
            ConfigError: It has unknown or invalid fields.
        """
        fields = self.read_json("config.json")
        try:
            return ExperimentConfig.parse(fields)
        except ConfigError as error:
            raise ConfigError(f"In {self.path / 'config.json'}: {error}") from error

    def save_tensors(
        self, name: str, tensors: dict[str, Tensor], *, config: ExperimentConfig | None = None
    ) -> None:
        """Write tensors as safetensors, whole or not at all, with the hash of what made them."""
        # One entry: safetensors writes several in any order, and equal runs give equal files.
        made_by = {"config": f"{config.hash} {config.variant_name}"} if config else None
        plain = {key: value.detach().cpu().contiguous() for key, value in tensors.items()}
        # Not by safetensors itself, whose files only their owner can read.
        write_whole(self.path / name, save(plain, metadata=made_by))

    def check_weights(self, name: str) -> None:
        """Refuse weights that another configuration made than the one in `config.json`.

        Labels may differ. The fields are compared as they stand in the file, so that a field that
        a later version adds changes nothing.

        Raises:
            RunError: The configurations differ, or a file is missing or damaged.
        """
        with self._opened(name) as file:
            made_by, *_ = (file.metadata() or {}).get("config", "").split() or [None]
        expected = config_hash(self.read_json("config.json"))
        if made_by not in {None, expected}:
            raise RunError(
                f"The weights must fit config.json of the run; got weights of the configuration "
                f"{made_by} beside one of {expected} in {self.path}. "
                "Restore the files of one run, or train again."
            )

    def load_tensors(self, name: str) -> dict[str, Tensor]:
        """Read tensors written by `save_tensors`.

        Raises:
            RunError: The file is missing or damaged.
        """
        with self._opened(name) as file:
            return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - no mapping

    def pack(self, path: str | os.PathLike[str]) -> "RunFolder":
        """Copy a finished run for others to use: weights in 16 bits, nothing to resume from.

        Weights and bands that are rounded forecast a little otherwise, so scores are not copied.

        Args:
            path: Folder of the copy; it must be new or empty.

        Returns:
            The copy.

        Raises:
            RunError: The run is not finished or damaged, or the folder is not empty.
        """
        config, tensors = self.config(), self.load_tensors("model.safetensors")
        self.check_weights("model.safetensors")
        copy = RunFolder(path)
        if copy.path.is_dir() and any(copy.path.iterdir()):
            raise RunError(
                f"A packed run must go to a new or empty folder; got {copy.path}, which holds "
                "files. Choose another folder."
            )
        copy.create()
        for name in ("config.json", "environment.json", "history.jsonl"):
            copy.write_text(name, (self / name).read_text())
        data = json.dumps(self.read_json("data.json"), separators=(",", ":"))
        copy.write_text("data.json", data + "\n")
        rounded = {
            key: value.half() if value.is_floating_point() else value
            for key, value in tensors.items()
        }
        if "bands" in tensors:  # in the data's units, so of any size
            rounded["bands"] = tensors["bands"].bfloat16()
        copy.save_tensors("model.safetensors", rounded, config=config)
        return copy

    @contextmanager
    def _opened(self, name: str) -> Iterator[Any]:
        path = self.path / name
        if not self.holds(name):
            raise RunError(
                f"A run folder must hold {name}; got {self.path} without it. "
                "Finish the training (--resume, or resume=True) or train again."
            )
        try:
            with safe_open(path, framework="pt") as file:
                yield file
        except (SafetensorError, OSError) as error:
            raise RunError(
                f"{name} must be a whole safetensors file; got a damaged one in {self.path} "
                f"({error}). Train again."
            ) from error

    def write_environment(self) -> None:
        """Record versions, commit and the machine's kind, so that a number can be traced."""
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
                "commit": _commit(),
            },
        )


def _commit() -> str | None:
    """Give the commit of the checkout that this package runs from; None where it is installed."""
    package = Path(__file__).resolve().parent
    git = shutil.which("git")
    if git is None or not (package.parent / ".git").exists():
        return None
    command = [git, "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        answer = subprocess.run(  # noqa: S603 - a fixed command
            command, cwd=package, capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip()
