"""What the commands share: the application and its groups, the plant file's option, how services are run."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from typer.core import TyperGroup

from neverblink import __version__
from neverblink.errors import NeverblinkError
from neverblink.service_life.health.places import HealthPlaceError, place_of
from neverblink.telemetry.logs import FORMAT, LEVEL
from neverblink.telemetry.scraping import HEALTH

if TYPE_CHECKING:
    from neverblink.plant import Plant

EXIT_BAD_RESULT = 1
EXIT_BAD_INPUT = 2
EXIT_STOPPED = 130
PLANT = Annotated[
    Path, typer.Option("--plant", "-p", help="The plant file.", envvar="NEVERBLINK_PLANT", show_default=True)
]
DEFAULT_PLANT = Path("plant.yaml")


def _log_from(level: str | None) -> str | None:
    if level is not None:
        os.environ[LEVEL] = level
    return level


LOG_LEVEL = Annotated[
    Literal["debug", "info", "warning", "error"] | None,
    typer.Option(
        "--log-level",
        callback=_log_from,
        show_default=False,
        help=f"Log from this level on, info by default; {LEVEL} says the same, and {FORMAT} json or text.",
    ),
]


def _answer_at(place: str | None) -> str | None:
    if place is not None:
        try:
            place_of(place)
        except HealthPlaceError as error:
            raise typer.BadParameter(str(error)) from error
        os.environ[HEALTH] = place
    return place


ANSWER_AT = Annotated[
    str | None,
    typer.Option(
        "--health",
        metavar="[HOST:]PORT",
        callback=_answer_at,
        show_default=False,
        help=f"Answer /livez, /readyz, /version and /metrics here, of this machine unless HOST says else; {HEALTH}.",
    ),
]

# Who needs which commands: the groups of `--help`, and their order.
GROUPS = {
    # Two groups, so that all fit a screen: what shows a plant first, services first.
    "Try it out, make and judge models": (
        "demo", "simulate-drift", "plc-sim", "broker",
        "look-over", "region", "fit", "tune", "calibrate", "update", "synthesize", "train-unet", "train-classifier",
        "retrain", "keep-reviewed", "backbones", "artifact", "evaluate", "compare", "inspect", "qualify", "golden",
        "msa",
    ),
    "Run the line and look after it": (
        "camera", "scorer", "bridge", "drift", "ledger", "console", "review", "models", "context", "holdouts",
        "challenge", "alarms", "plant", "topics", "dead-letters", "schemas",
    ),
}  # fmt: skip


class _Grouped(TyperGroup):
    """The commands in groups; what a shell's completion asks for works and is not shown, so that all fit a screen."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        for group, names in GROUPS.items():
            for name in names:
                command: Any = self.commands.get(name)
                if command is not None:
                    command.rich_help_panel = group

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the options; typer adds those of a shell's completion after the group is made.

        None has a panel of its own, which would take lines from the commands: the text names those for people.
        """
        found = super().get_params(ctx)
        for parameter in found:
            if parameter.name in {"install_completion", "show_completion", "version", "help"}:
                parameter.hidden = True  # type: ignore[attr-defined]
        return found

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the commands in the order of their groups; one that has none comes last."""
        order = [name for names in GROUPS.values() for name in names]
        return sorted(self.commands, key=lambda name: order.index(name) if name in order else len(order))


app = typer.Typer(
    name="neverblink",
    cls=_Grouped,
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    help="Inline visual inspection. Exit codes: 0 done, 1 bad result, 2 bad input. --version prints ours.",
)
plant_app = typer.Typer(no_args_is_help=True, help="Check, explain and start a plant file.")
topics_app = typer.Typer(no_args_is_help=True, help="The Kafka topics.")
dead_letters_app = typer.Typer(no_args_is_help=True, help="Records that no service could read: see, replay.")
schemas_app = typer.Typer(no_args_is_help=True, help="The contracts for the outside.")
ledger_app = typer.Typer(no_args_is_help=True, help="Keeps every verdict and actuation, and answers.")
artifact_app = typer.Typer(no_args_is_help=True, help="Look into fitted models, check them, send them.")
region_app = typer.Typer(no_args_is_help=True, help="Draw named regions: judged, ignored, or to be there.")
review_app = typer.Typer(no_args_is_help=True, help="What people say of parts: what waits, who takes it, answers.")
models_app = typer.Typer(no_args_is_help=True, help="Which model scores which station; change it while the line runs.")
golden_app = typer.Typer(
    no_args_is_help=True, help="Pictures with known answers, which a model judges before it scores."
)
context_app = typer.Typer(no_args_is_help=True, help="Which order, lot and product is on a line, now and later.")
challenge_app = typer.Typer(no_args_is_help=True, help="Reference parts that are sent to prove the system.")
holdouts_app = typer.Typer(no_args_is_help=True, help="The parts that people judge whatever the verdict: their keys.")
msa_app = typer.Typer(no_args_is_help=True, help="Whether people, and the machine, judge parts alike: a study of it.")
camera_app = typer.Typer()
bridge_app = typer.Typer()
console_app = typer.Typer()
console_audit_app = typer.Typer(no_args_is_help=True, help="The console's audit: check it, take it away.")
console_app.add_typer(console_audit_app, name="audit")
for _name, _sub, _short in (
    ("artifact", artifact_app, None),
    ("region", region_app, None),
    ("camera", camera_app, "Camera nodes: trigger, grab, judge the image, publish the frame."),
    ("bridge", bridge_app, "Tells each line's PLC the verdict before the part reaches the gate."),
    ("ledger", ledger_app, None),
    ("console", console_app, "Pages for people: the wall, each part, accounts and audit."),
    ("models", models_app, None),
    ("golden", golden_app, None),
    ("review", review_app, None),
    ("context", context_app, None),
    ("holdouts", holdouts_app, None),
    ("challenge", challenge_app, None),
    ("msa", msa_app, None),
    ("plant", plant_app, None),
    ("topics", topics_app, None),
    ("dead-letters", dead_letters_app, None),
    ("schemas", schemas_app, None),
):
    app.add_typer(_sub, name=_name, short_help=_short)


def wide_console() -> Any:
    """Return where tables go: as wide as the terminal, and wide enough for them where there is none."""
    from rich.console import Console

    return Console() if sys.stdout.isatty() else Console(width=140)


def read_plant(path: Path) -> "Plant":
    """Return what a plant file describes. Raises PlantError."""
    from neverblink.plant import load_plant

    return load_plant(path)


def sentence_of(error: BaseException) -> str | None:
    """Return what an error says to a person, None when it is not one of ours.

    A missing extra is told by its name.
    """
    if isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        return sentence_of(error.exceptions[0])
    if isinstance(error, ModuleNotFoundError) and error.name and not error.name.startswith("neverblink"):
        command = next((word for word in sys.argv[1:] if not word.startswith("-")), "all")
        extra = (
            command
            if command in {"camera", "scorer", "bridge", "drift", "ledger", "console"}
            else "ledger"
            if command == "review"
            else "all"
        )
        return f"this command needs the package {error.name}: install neverblink[{extra}]"
    return str(error) if isinstance(error, NeverblinkError) else None


def refuse_options_before(context: typer.Context, names: Sequence[str]) -> None:
    """Refuse options of a service that stand before its sub-command, where they would have no effect."""
    for name in names:
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            raise typer.BadParameter(f"write --{name.replace('_', '-')} after {context.invoked_subcommand}")


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False,
) -> None:
    if version:
        typer.echo(__version__)
        raise typer.Exit
