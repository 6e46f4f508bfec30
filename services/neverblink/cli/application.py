"""What the commands share: the application and its groups, the plant file's option, how services are run."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from neverblink import __version__

EXIT_BAD_RESULT = 1
EXIT_BAD_INPUT = 2
PLANT = Annotated[
    Path, typer.Option("--plant", "-p", help="The plant file.", envvar="NEVERBLINK_PLANT", show_default=True)
]
DEFAULT_PLANT = Path("plant.yaml")

app = typer.Typer(
    name="neverblink",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    help="""Inline visual inspection: frames in, verdicts out, rejects at the PLC before the gate.

First time here? `neverblink demo` runs a whole plant on this machine. Then: `neverblink plant example`
prints a plant file, `neverblink fit` makes a model from pictures of good parts, `evaluate` tells what it
finds and misses, and `camera`, `scorer`, `bridge`, `drift` and `ledger` are the services, one process each,
all started with `--plant FILE`.

Exit codes: 0 done, 1 done and the result is bad, 2 bad input or surroundings (one sentence says which).""",
)
plant_app = typer.Typer(no_args_is_help=True, help="Check, explain and start a plant file.")
topics_app = typer.Typer(no_args_is_help=True, help="The Kafka topics.")
schemas_app = typer.Typer(no_args_is_help=True, help="The contracts for the outside.")
ledger_app = typer.Typer(no_args_is_help=True, help="Keeps every verdict and actuation, and answers.")
artifact_app = typer.Typer(no_args_is_help=True, help="Look into fitted models, check them, send them.")
models_app = typer.Typer(no_args_is_help=True, help="Which model scores which station; change it while the line runs.")
camera_app = typer.Typer()
bridge_app = typer.Typer()
for _name, _sub in (
    ("plant", plant_app),
    ("topics", topics_app),
    ("schemas", schemas_app),
    ("ledger", ledger_app),
    ("artifact", artifact_app),
    ("models", models_app),
    ("camera", camera_app),
    ("bridge", bridge_app),
):
    app.add_typer(_sub, name=_name)


def wide_console() -> Any:
    """Return where tables go: as wide as the terminal, and wide enough for them where there is none."""
    from rich.console import Console

    return Console() if sys.stdout.isatty() else Console(width=140)


def refuse_options_before(context: typer.Context, names: Sequence[str]) -> None:
    """Refuse options of a service that stand before its sub-command, where they would have no effect."""
    for name in names:
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            raise typer.BadParameter(f"write --{name} after {context.invoked_subcommand}")


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False,
) -> None:
    if version:
        typer.echo(__version__)
        raise typer.Exit
