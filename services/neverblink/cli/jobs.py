"""How a job becomes a command: options and a file in; bars and tables out for people, lines of JSON for programs."""

import inspect
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

import typer
from pydantic import BaseModel, ValidationError
from rich.console import Console
from rich.table import Table
from typer.core import TyperCommand

from neverblink.cli.application import EXIT_BAD_INPUT, EXIT_BAD_RESULT, EXIT_STOPPED, app, sentence_of, wide_console
from neverblink.cli.options import given, option, parameters
from neverblink.job_life.lines import ErrorLine, FiguresLine, ProgressLine, ResultLine
from neverblink.job_life.progress import Progress
from neverblink.job_life.results import JobResult
from neverblink.job_life.settings import JobSettings, SettingsError, spelling_of
from neverblink.job_life.terminal import progress_bar, say

S = TypeVar("S", bound=JobSettings)
R = TypeVar("R")

Figures = Callable[[str, Mapping[str, float | None]], None]
"""Called with what figures are of, such as an epoch, and the figures."""


@dataclass(frozen=True, slots=True)
class Teller:
    """Whom a job tells how far it is, and how well it does where it learns."""

    progress: Progress
    figures: Figures = lambda *_: None


class Screen:
    """Where a person reads: with `as_json` nothing but the JSON goes to standard output, so that it can be piped."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self.console = Console(stderr=True) if as_json else wide_console()

    def say(self, sentence: str) -> None:
        """Print a sentence on a line of its own."""
        say(self.console, sentence)

    def tables(self, *tables: Table) -> None:
        """Print tables where no JSON is asked for."""
        for table in () if self.as_json else tables:
            self.console.print(table)

    def json(self, content: bytes) -> None:
        """Print JSON to standard output."""
        Console().print_json(content.decode())


@contextmanager
def _bars(title: str, screen: Screen) -> Iterator[Teller]:
    with progress_bar(screen.console, title) as progress:
        yield Teller(progress)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job(Generic[S, R]):
    """A job as a command: what it is asked, who does it, and how a person and a program are told what came of it.

    `work` and what follows may import what is heavy; the settings may not. `title` begins the lines of the bars.
    `stopped` is said when a person stops it. `as_json`: what `--json` prints. `example`: what `--example` prints.
    """

    settings: type[S]
    result: type[JobResult]
    work: Callable[[S, Teller], R]
    told: Callable[[S, R], JobResult]
    show: Callable[[S, R, Screen], None]
    title: Callable[[S], str] = lambda _: ""
    bars: Callable[[str, Screen], Any] = _bars
    good: Callable[[R], bool] = lambda _: True
    stopped: str | None = None
    as_json: str | None = None
    example: tuple[str, Callable[[], str]] | None = None


JOBS: dict[str, Job[Any, Any]] = {}
"""Every job by its command; its settings and its result are what `schemas/jobs` describes."""


def command(name: str, job: Job[S, R], *, text: str, short: str | None = None) -> None:
    """Add a job to the command line; `text` is its help, `short` a line for the list of commands, else the first."""
    JOBS[name] = job

    def run(context: typer.Context, **values: Any) -> None:
        if values.pop("example", False):
            assert job.example is not None
            typer.echo(job.example[1](), nl=False)
            return
        settings_file, in_json = values.pop("settings_file"), values.pop("progress") == "json"
        as_json = values.pop("as_json", False)
        if in_json:
            if as_json:
                raise typer.BadParameter("--json is for people's tables: with --progress json the last line says it")
            _for_a_program(name, job, lambda: _asked(job, context, settings_file, values))
        else:
            _for_a_person(job, _asked(job, context, settings_file, values), Screen(as_json=as_json))

    signature = [inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)]
    signature += [*parameters(job.settings), *_of_every_job(job)]
    run.__signature__ = inspect.Signature(signature)  # type: ignore[attr-defined]
    run.__annotations__ = {one.name: one.annotation for one in signature}
    app.command(name, cls=JobCommand, help=text, short_help=short)(run)


def _of_every_job(job: Job[S, R]) -> Iterator[inspect.Parameter]:
    """Yield the options that are no settings: where these come from, and how the job is shown."""
    options: list[tuple[str, Any, Any, Any]] = [
        ("settings_file", Path | None, typer.Option("--settings", metavar="FILE.yaml", help=_SETTINGS), None),
        ("progress", Literal["bar", "json"], typer.Option("--progress", help=_PROGRESS), "bar"),
    ]
    if job.as_json is not None:
        options.append(("as_json", bool, typer.Option("--json", help=job.as_json), False))
    if job.example is not None:
        options.append(("example", bool, typer.Option("--example", help=job.example[0]), False))
    for name, kind, info, default in options:
        yield option(name, kind, info, default)


_SETTINGS = "Settings by name; options count instead of them. docs/guides/jobs.md."
_PROGRESS = "json: a line of JSON a step, the result last, for another program."


class JobCommand(TyperCommand):
    """A command whose settings may come from a file, and whose mistakes a program may want as a line of JSON."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the words of a command line; what a settings file or an example is there for need not be given."""
        words = list(args)
        required = [one for one in self.params if one.required]
        if any(word.partition("=")[0] in {"--settings", "--example"} for word in words):
            for one in required:
                one.required = False
        try:
            return super().parse_args(ctx, args)
        except Exception as error:
            # Typer offers no public name for the class of all mistakes in a command line; they alone have a sentence.
            if hasattr(error, "format_message") and _wants_json(words):
                _print(ErrorLine(job=str(self.name), exit_code=EXIT_BAD_INPUT, error=error.format_message()))
            raise
        finally:
            for one in required:
                one.required = True


def _wants_json(words: Sequence[str]) -> bool:
    return any(
        word == "--progress=json" or (word == "--progress" and after == "json")
        for word, after in pairwise([*words, ""])
    )


def _asked(job: Job[S, R], context: typer.Context, path: Path | None, values: Mapping[str, Any]) -> S:
    """Return the settings, and read the plant file that they name: what is wrong there is told before the work.

    Raises SettingsError, BadParameter, PlantError.
    """
    try:
        settings = job.settings.read(path, given(job.settings, context, values))
    except SettingsError as error:
        said = _as_a_mistake(job.settings, error) if path is None else None
        if said is None:
            raise
        raise typer.BadParameter(said) from error
    plant = getattr(settings, "plant", None)
    if plant is not None:
        from neverblink.plant import load_plant

        load_plant(plant)
    return settings


def _as_a_mistake(model: type[JobSettings], error: SettingsError) -> str | None:
    """Return what is said of options that do not fit together or lack one, as typer says it; None: one is wrong."""
    if not isinstance(error.__cause__, ValidationError):
        return None
    fault = error.__cause__.errors()[0]
    if not fault["loc"]:
        return str(error)
    field = model.keys().get(str(fault["loc"][0]))
    return spelling_of(field).missing if fault["type"] == "missing" and field is not None else None


def _for_a_person(job: Job[S, R], settings: S, screen: Screen) -> None:
    try:
        with job.bars(job.title(settings), screen) as teller:
            result = job.work(settings, teller)
    except KeyboardInterrupt:
        if job.stopped is not None:
            screen.say(job.stopped)
        raise
    job.show(settings, result, screen)
    if not job.good(result):
        raise typer.Exit(EXIT_BAD_RESULT)


def _for_a_program(name: str, job: Job[S, R], asked: Callable[[], S]) -> None:
    """Run a job and print lines of JSON; whatever happens, the last one says how it ended."""

    def progress(stage: str, done: int, total: int) -> None:
        _print(ProgressLine(job=name, stage=stage, done=done, total=total))

    def figures(stage: str, found: Mapping[str, float | None]) -> None:
        _print(FiguresLine(job=name, stage=stage, figures=dict(found)))

    def ends(exit_code: int, sentence: str) -> None:
        _print(ErrorLine(job=name, exit_code=exit_code, error=sentence))

    # A program stops its child by SIGTERM: that is a person's Ctrl-C, and told as well.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        settings = asked()
        result = job.work(settings, Teller(progress, figures))
        code = 0 if job.good(result) else EXIT_BAD_RESULT
        told = job.told(settings, result).model_dump(mode="json")
        _print(ResultLine(job=name, exit_code=code, result=told))
    except KeyboardInterrupt:
        ends(EXIT_STOPPED, job.stopped or "stopped")
        raise
    except Exception as error:
        # The boundary of the job: whatever ends it is told to the program, and to a person where it always is.
        sentence = error.format_message() if isinstance(error, typer.BadParameter) else sentence_of(error)
        if sentence is None:
            ends(EXIT_BAD_RESULT, f"a fault of neverblink's own, {type(error).__name__}: {error}")
        else:
            ends(EXIT_BAD_INPUT, sentence)
        raise
    if code:
        raise typer.Exit(code)


def _print(line: BaseModel) -> None:
    sys.stdout.write(f"{line.model_dump_json()}\n")
    sys.stdout.flush()
