"""The command line: one command per service and job. Heavy libraries are imported by the command that needs them."""

import sys
from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

import typer

from neverblink.cli import application
from neverblink.cli.application import EXIT_BAD_INPUT, EXIT_STOPPED, sentence_of
from neverblink.service_life import building

if TYPE_CHECKING:
    from neverblink.cli.application import app

__all__ = ["app", "main", "sentence_of"]

_WHOLE = ("every_command",)
_OF_SERVICES = {
    ("camera",): ("services",),
    ("scorer",): ("services",),
    ("bridge",): ("services", "bridge"),
    ("drift",): ("services",),
    ("ledger", "run"): ("services",),
    ("console",): ("console",),
}
"""The modules with all that can follow these words. A service starts on processors that its line needs meanwhile, and
what all other commands say of themselves takes a third of a bridge's start."""


def __getattr__(name: str) -> Any:
    """Return `app`, whole: whoever asks for it may ask it anything."""
    if name != "app":
        raise AttributeError(f"module {__name__} has no attribute {name}")
    return import_module(f"{__name__}.every_command").app


def main() -> None:
    """Run the command line. Errors of ours are one sentence each; a traceback is a bug of ours."""
    try:
        with building():
            for module in _modules_of(sys.argv[1:]):
                import_module(f"{__name__}.{module}")
        application.app()
    except KeyboardInterrupt:
        sys.exit(EXIT_STOPPED)
    except Exception as error:  # the program's boundary: sentences are told, anything else is a bug and goes on
        sentence = sentence_of(error)
        if sentence is None:
            raise
        typer.secho(f"neverblink: {sentence}", fg=typer.colors.RED, err=True)
        sys.exit(EXIT_BAD_INPUT)


def _modules_of(words: Sequence[str]) -> Sequence[str]:
    found = (_OF_SERVICES.get(tuple(words[:count])) for count in (1, 2))
    return next((modules for modules in found if modules is not None), _WHOLE)
