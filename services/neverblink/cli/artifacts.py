"""Models as files."""

from pathlib import Path
from typing import Annotated

import typer

from neverblink.cli.application import EXIT_BAD_RESULT, app, artifact_app, wide_console


@app.command()
def backbones() -> None:
    """Print the networks that features can come from, and which come with their weights."""

    from neverblink.trainer.commands import list_backbones

    list_backbones(wide_console())


@artifact_app.command("inspect")
def artifact_inspect(folder: Annotated[Path, typer.Argument(help="Artifact folder.")]) -> None:
    """Verify an artifact and print what it is."""
    from rich.console import Console

    from neverblink.trainer.commands import inspect

    inspect(folder, Console())


@artifact_app.command("verify")
def artifact_verify(
    folder: Annotated[Path, typer.Argument(help="Artifact folder.")],
    digest: Annotated[str | None, typer.Option(help="The identity it must have.")] = None,
    weights: Annotated[Path | None, typer.Option(help="Weights file that it was fitted with.")] = None,
) -> None:
    """Check every digest, size and shape of an artifact, and that its backbone's weights are the right ones.

    Exit code 1: it is not whole, or not the one asked for; 2: there is no artifact.
    """
    from rich.console import Console

    from neverblink.trainer.commands import is_artifact_folder, verify
    from neverblink.vision.errors import VisionError

    try:
        verify(folder, digest, weights, Console())
    except VisionError as error:
        if not is_artifact_folder(folder):
            raise
        typer.secho(f"neverblink: {error}", fg=typer.colors.RED, err=True)
        raise typer.Exit(EXIT_BAD_RESULT) from error


@artifact_app.command("export")
def artifact_export(
    folder: Annotated[Path, typer.Argument(help="Artifact folder.")],
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="FILE.zip", help="File to write; an older one is replaced.")
    ],
) -> None:
    """Write an artifact as one zip file: the same bytes for the same model, read back and verified."""
    from rich.console import Console

    from neverblink.trainer.commands import export

    export(folder, out, Console())


@artifact_app.command("import")
def artifact_import(
    file: Annotated[Path, typer.Argument(help="File that `artifact export` wrote.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Artifact folder to make.")],
    digest: Annotated[str | None, typer.Option(help="The identity it must have, as `export` printed it.")] = None,
) -> None:
    """Make an artifact folder from an exported file; what is not whole, or another model, is refused."""
    from rich.console import Console

    from neverblink.trainer.commands import import_

    import_(file, out, digest, Console())
