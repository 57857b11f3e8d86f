"""Files that are written whole or not at all."""

from pathlib import Path

__all__ = ["write_whole"]


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file so that no reader ever sees half of it; where that fails, nothing new is left.

    Args:
        path: File to write; one that is there is replaced, or stays as it is.
        content: Text (UTF-8) or bytes.

    Raises:
        OSError: The file cannot be written; the error names it.
    """
    part = path.with_name(f".{path.name}.part")
    try:
        part.write_bytes(content.encode() if isinstance(content, str) else content)
        part.replace(path)
    except BaseException as error:
        part.unlink(missing_ok=True)  # it would only fill a full disk
        if isinstance(error, OSError) and error.filename in {None, str(part)}:
            error.filename = str(path)
        raise
