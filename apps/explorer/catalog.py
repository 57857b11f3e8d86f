"""Which trained runs there are: those bundled with the package, and run folders on disk."""

import json
import os
from pathlib import Path
from typing import NamedTuple

__all__ = [
    "BUNDLED", "PUBLISHED", "RunFolderInfo", "bundle_of", "bundled_variants", "data_folder",
    "find_runs", "kept_datasets", "runs_root",
]  # fmt: skip

BUNDLED = "bundled"
# Scores of finished runs and tables of them; there in a clone of the project.
PUBLISHED = Path(__file__).parents[2] / "notebooks" / "results"


class RunFolderInfo(NamedTuple):
    """A run folder: its name under the runs root, its data, variant and whether it has weights."""

    name: str
    path: Path
    dataset: str
    variant: str
    has_weights: bool


def runs_root() -> Path:
    """Give the folder that holds the runs: `STTRANS_RUNS`, or else `runs` in the working folder."""
    return Path(os.environ.get("STTRANS_RUNS") or "runs").expanduser().absolute()


def data_folder(root: Path) -> Path:
    """Give the folder of the user's own datasets in a folder of runs."""
    return root / "data"


def kept_datasets(root: Path) -> list[str]:
    """List the user's own datasets that were kept from the page, by their whole paths."""
    return sorted(str(path) for path in data_folder(root).glob("*.nc"))


def bundle_of(run: str, dataset: str) -> str:
    """Give the dataset whose bundled weights a run names, or nothing where it names a folder.

    Args:
        run: `bundled` for those of the dataset itself, `bundled:metr-la` for those of another one
            with the same places.
        dataset: Name of the dataset that is looked at.
    """
    kind, _, other = run.partition(":")
    return (other or dataset) if kind == BUNDLED else ""


def bundled_variants(dataset: str) -> list[str]:
    """List the variants of a dataset whose weights come with the package, `full` first."""
    from sttrans_core import list_pretrained

    return list_pretrained().get(dataset, [])


def find_runs(root: Path) -> list[RunFolderInfo]:
    """List the run folders under a root, the newest first; what cannot be read is left out.

    Args:
        root: Folder of run folders; it need not exist.

    Returns:
        One entry for each folder with a readable `config.json`.
    """
    found = []
    try:
        folders = [path for path in root.iterdir() if (path / "config.json").is_file()]
    except OSError:
        return []
    for path in sorted(folders, key=_age):
        try:
            config = json.loads((path / "config.json").read_text())
            dataset, variant = str(config["data"]["dataset"]), str(config["variant_name"])
        except (OSError, ValueError, KeyError, TypeError):
            continue
        weights = (path / "model.safetensors").is_file()
        found.append(RunFolderInfo(path.name, path, dataset, variant, weights))
    return found


def _age(path: Path) -> float:
    try:
        return -(path / "config.json").stat().st_mtime
    except OSError:
        return 0.0
