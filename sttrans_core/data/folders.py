"""Where datasets are looked for: the folder of data folders, and those in it named like a set."""

import os
from pathlib import Path

__all__ = ["data_root", "folders_named"]


def data_root(root: str | os.PathLike[str] | None) -> Path | None:
    """Give the folder of data folders: the one passed, or what `STTRANS_DATA` names.

    Args:
        root: The folder, or None.

    Returns:
        The folder, or None where neither names one.

    Raises:
        FileNotFoundError: The folder does not exist.
    """
    named = root if root is not None else os.environ.get("STTRANS_DATA") or None
    if named is None:
        return None
    folder = Path(named).expanduser()
    if not folder.is_dir():
        what = "root" if root is not None else "STTRANS_DATA"
        raise FileNotFoundError(
            f"{what} must name an existing folder; got {folder}. Correct it or leave it out."
        )
    return folder


def folders_named(name: str, root: Path) -> list[Path]:
    """Find the folders of a dataset, however its name is spelled.

    Args:
        name: In lower case with hyphens.
        root: Folder of data folders.

    Returns:
        Folders such as `metr-la` and `METR_LA`.
    """
    folders = (entry for entry in sorted(root.iterdir()) if entry.is_dir())
    return [folder for folder in folders if folder.name.lower().replace("_", "-") == name]
