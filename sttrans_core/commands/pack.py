"""The command `pack`: a small copy of a run, for others to use."""

from pathlib import Path
from typing import Annotated

import typer

from sttrans_core.commands.support import shell_command

__all__ = ["app"]

app = typer.Typer()


@app.command()
def pack(
    run_dir: Annotated[Path, typer.Option(help="Folder of a run.")],
    output_dir: Annotated[Path, typer.Option(help="New folder of the copy.")],
) -> None:
    """Copy a run in half the space: weights in 16 bits, nothing to resume from, no scores."""
    from sttrans_core.runs import RunFolder

    copy = RunFolder(run_dir).pack(output_dir)
    size = sum(file.stat().st_size for file in copy.path.iterdir())
    typer.echo(f"Wrote {output_dir} ({size / 1e3:,.0f} KB)")
    typer.echo(f"Score it with: {shell_command('evaluate', '--write', '--run-dir', output_dir)}")
