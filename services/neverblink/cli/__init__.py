"""The command line: one command per service and job. Heavy libraries are imported by the command that needs them."""

import sys

import typer

# The order of the imports is the order of `--help`.
# isort: off
from neverblink.cli.application import EXIT_BAD_INPUT, app
from neverblink.cli import services, site, training, retraining, inspection, artifacts, models, demo  # noqa: F401

# isort: on
from neverblink.errors import NeverblinkError

__all__ = ["app", "main", "sentence_of"]


def main() -> None:
    """Run the command line. Errors of ours are one sentence each; a traceback is a bug of ours."""
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        sentence = sentence_of(error)
        if sentence is None:
            raise
        typer.secho(f"neverblink: {sentence}", fg=typer.colors.RED, err=True)
        sys.exit(EXIT_BAD_INPUT)


def sentence_of(error: BaseException) -> str | None:
    """Return what an error says to a person, None when it is not one of ours.

    A missing extra is told by its name.
    """
    if isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        return sentence_of(error.exceptions[0])
    if isinstance(error, ModuleNotFoundError) and error.name and not error.name.startswith("neverblink"):
        command = next((word for word in sys.argv[1:] if not word.startswith("-")), "all")
        extra = command if command in {"camera", "scorer", "bridge", "drift", "ledger"} else "all"
        return f"this command needs the package {error.name}: install neverblink[{extra}]"
    return str(error) if isinstance(error, NeverblinkError) else None
