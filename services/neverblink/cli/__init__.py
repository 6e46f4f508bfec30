"""The command line: one command per service and job. Heavy libraries are imported by the command that needs them."""

import sys

import typer

# The order of the imports is the order of `--help`.
# isort: off
from neverblink.cli.application import EXIT_BAD_INPUT, EXIT_STOPPED, app, sentence_of
from neverblink.cli import demo, collecting, fitting, tuning, teaching, retraining, evaluation, inspection, golden  # noqa: F401
from neverblink.cli import regions  # noqa: F401
from neverblink.cli import agreement  # noqa: F401
from neverblink.cli import services, bridge, ledger_questions, ledger_proof, ledger_export  # noqa: F401
from neverblink.cli import ledger_api, ledger_backup, ledger_upkeep  # noqa: F401
from neverblink.cli import console, artifacts, models, context, holdouts, challenges, reviews, site, topics  # noqa: F401
from neverblink.cli import dead_letters  # noqa: F401

# isort: on

__all__ = ["app", "main", "sentence_of"]


def main() -> None:
    """Run the command line. Errors of ours are one sentence each; a traceback is a bug of ours."""
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(EXIT_STOPPED)
    except Exception as error:  # the program's boundary: sentences are told, anything else is a bug and goes on
        sentence = sentence_of(error)
        if sentence is None:
            raise
        typer.secho(f"neverblink: {sentence}", fg=typer.colors.RED, err=True)
        sys.exit(EXIT_BAD_INPUT)
