"""Questions to the records: parts, one part, yield, Pareto, figures; as tables for people or as JSON for programs."""

import contextlib
import dataclasses
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, tzinfo
from functools import wraps
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_type_hints
from zoneinfo import ZoneInfo

import typer

from neverblink.cli.application import DEFAULT_PLANT, PLANT, ledger_app, read_plant, wide_console

if TYPE_CHECKING:
    from neverblink.plant import Plant
    from neverblink.records.questions.part_filter import PartFilter
    from neverblink.records.questions.part_story import PartStory
    from neverblink.records.questions.rollup_filter import RollupFilter
    from neverblink.records.reading import ReadOnlyRecords

ANSWER_S = 60.0
"""A person waits longer than a machine may."""

AS_JSON = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


def _instant(text: str | None) -> datetime | None:
    """Read an instant; one without a zone is of this machine's."""
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
        return found.astimezone() if found.tzinfo is None else found
    except (ValueError, OverflowError) as error:
        raise typer.BadParameter(
            f"{text!r} is no instant: write 2026-03-02T14:00:00+01:00, or 2026-03-02 for its beginning here"
        ) from error


@dataclass(frozen=True, slots=True)
class CountsWanted:
    """The options of questions about counts."""

    plant: PLANT = DEFAULT_PLANT
    line: Annotated[list[str] | None, typer.Option(help="Line; may be given again. Default: all.")] = None
    station: Annotated[str | None, typer.Option(help="Station: its verdicts instead of whole parts.")] = None
    product: Annotated[str | None, typer.Option(help="Product.")] = None
    lot: Annotated[str | None, typer.Option(help="Lot.")] = None
    since: Annotated[str | None, typer.Option("--from", help="Triggered from here on, such as 2026-03-02T06:00.")] = (
        None
    )
    until: Annotated[str | None, typer.Option("--to", help="Triggered before.")] = None

    def counted(self) -> "RollupFilter":
        """Return which counts are added up. Raises BadParameter."""
        from neverblink.records.questions.rollup_filter import RollupFilter

        return RollupFilter(
            tuple(self.line) if self.line else None,
            self.station,
            self.product,
            self.lot,
            _instant(self.since),
            _instant(self.until),
        )


@dataclass(frozen=True, slots=True)
class PartsWanted(CountsWanted):
    """The options of questions about parts."""

    station: Annotated[str | None, typer.Option(help="Station that has a verdict of the part.")] = None
    order: Annotated[str | None, typer.Option(help="Production order.")] = None
    serial: Annotated[str | None, typer.Option(help="Serial number.")] = None
    carrier: Annotated[str | None, typer.Option(help="Carrier.")] = None
    decision: Annotated[Literal["pass", "reject", "unscored"] | None, typer.Option(help="Worst of the stations.")] = (
        None
    )
    reason: Annotated[str | None, typer.Option(help="Reason of the decision, such as late.")] = None
    defect: Annotated[str | None, typer.Option(help="Type of a defect, at any station.")] = None
    judgement: Annotated[
        Literal["normal", "defect", "inconclusive", "disputed"] | None, typer.Option(help="What reviewers found.")
    ] = None

    def wanted(self) -> "PartFilter":
        """Return which parts fit. Raises BadParameter."""
        from neverblink.records.questions.part_filter import PartFilter

        return PartFilter(
            lines=tuple(self.line) if self.line else None,
            station=self.station,
            product=self.product,
            order=self.order,
            lot=self.lot,
            serial=self.serial,
            carrier=self.carrier,
            since=_instant(self.since),
            until=_instant(self.until),
            decision=self.decision,
            reason=self.reason,
            defect=self.defect,
            judgement=self.judgement,
        )


def wanting(kind: type[CountsWanted]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Let a command take the options of `kind` and be given them as its first argument, one value."""
    names = [field.name for field in dataclasses.fields(kind)]
    hints = get_type_hints(kind, include_extras=True)
    theirs = [
        inspect.Parameter(
            field.name, inspect.Parameter.KEYWORD_ONLY, default=field.default, annotation=hints[field.name]
        )
        for field in dataclasses.fields(kind)
    ]

    def wrap(command: Callable[..., None]) -> Callable[..., None]:
        own = list(inspect.signature(command, eval_str=True).parameters.values())[1:]

        @wraps(command)
        def taken(**values: Any) -> None:
            command(kind(**{name: values.pop(name) for name in names}), **values)

        every = [*own, *theirs]
        taken.__signature__ = inspect.Signature(every)  # type: ignore[attr-defined]
        taken.__annotations__ = {one.name: one.annotation for one in every}
        return taken

    return wrap


@ledger_app.command("parts")
@wanting(PartsWanted)
def ledger_parts(
    asked: PartsWanted,
    *,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=10_000, help="Parts of a page.")] = 50,
    cursor: Annotated[str | None, typer.Option(help="Go on behind the page that ended with this.")] = None,
    order_by: Annotated[
        Literal["newest", "oldest", "changes"], typer.Option(help="By trigger time, or as they last changed.")
    ] = "newest",
    as_json: AS_JSON = False,
) -> None:
    """Print the parts that fit, a page at a time: what was decided, told, done at the gate and found by people.

    `neverblink ledger parts --line line-1 --decision reject --from 2026-03-02T06:00`

    `--order-by changes` follows along: each change of a part comes exactly once, however often you ask.
    """
    described = read_plant(asked.plant)
    wanted = asked.wanted()
    from neverblink.cli.ledger_tables import parts_table
    from neverblink.records.questions.parts import parts

    with opened_records(described) as records, records.asking() as session:
        page = parts(session, wanted, order=order_by, limit=limit, cursor=cursor)
    if as_json:
        print_json(page)
        return
    if not page.parts:
        typer.echo("No part fits.")
        return
    console = wide_console()
    console.print(parts_table(page.parts))
    if page.more:
        console.print(f"More: --cursor {page.next}", highlight=False, soft_wrap=True)


@ledger_app.command("part")
def ledger_part(
    number: Annotated[int | None, typer.Argument(help="The part's id, as `ledger parts` prints it.")] = None,
    plant: PLANT = DEFAULT_PLANT,
    serial: Annotated[str | None, typer.Option(help="The part's serial number instead.")] = None,
    as_json: AS_JSON = False,
) -> None:
    """Print everything about one part: identity, verdicts with defects, PLC and gate, reviews, pictures, trace.

    `neverblink ledger part --serial SN-000123`
    """
    described = read_plant(plant)
    if (number is None) == (serial is None):
        raise typer.BadParameter("name one part: by its id, or by --serial")
    from neverblink.cli.ledger_tables import story_lines
    from neverblink.records.questions.part_filter import PartFilter
    from neverblink.records.questions.part_story import story_of
    from neverblink.records.questions.parts import parts

    found: list[PartStory] = []
    with opened_records(described) as records, records.asking() as session:
        ids = [number] if number is not None else []
        if serial is not None:
            ids = [part.id for part in parts(session, PartFilter(serial=serial), limit=20).parts]
        found = [story for one in ids if (story := story_of(session, one)) is not None]
    if not found:
        typer.echo(f"There is no part {number if serial is None else f'with serial number {serial}'}.", err=True)
        raise typer.Exit(1)
    if as_json:
        print_json(found[0] if number is not None else found)
        return
    console = wide_console()
    for story in found:
        for line in story_lines(story):
            console.print(line, highlight=False)


@ledger_app.command("yield")
@wanting(CountsWanted)
def ledger_yield(
    asked: CountsWanted,
    *,
    by: Annotated[
        Literal["hour", "shift", "day", "line", "station", "product", "artifact", "lot"],
        typer.Option(help="What the parts are grouped by."),
    ] = "line",
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=10_000, help="Groups at most.")] = 100,
    as_json: AS_JSON = False,
) -> None:
    """Print how many parts were good, by hour, shift, day, line, station, product, artifact or lot.

    `neverblink ledger yield --by shift --line line-1`

    Counts are kept by the hour: --from and --to are widened to whole hours.
    """
    described = read_plant(asked.plant)
    counted = asked.counted()
    from neverblink.cli.ledger_tables import yield_table
    from neverblink.records.questions.yields import yields

    with opened_records(described) as records, records.asking() as session:
        found = yields(session, by, counted, zone=zone_of(described), limit=limit)
    if as_json:
        print_json(found)
    elif found:
        wide_console().print(yield_table(by, found))
    else:
        typer.echo("No part fits.")


@ledger_app.command("pareto")
@wanting(CountsWanted)
def ledger_pareto(
    asked: CountsWanted,
    *,
    of: Annotated[Literal["defects", "reasons"], typer.Option(help="Types of defects, or reasons of decisions.")] = (
        "defects"
    ),
    decision: Annotated[
        Literal["pass", "reject", "unscored"] | None, typer.Option(help="Of parts with this decision.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=10_000, help="Words at most.")] = 30,
    as_json: AS_JSON = False,
) -> None:
    """Print what is found most often, with its share and the share of it and all before it.

    `neverblink ledger pareto --of reasons --decision unscored`
    """
    described = read_plant(asked.plant)
    counted = asked.counted()
    from neverblink.cli.ledger_tables import pareto_table
    from neverblink.records.questions.pareto import pareto

    with opened_records(described) as records, records.asking() as session:
        found = pareto(session, of, counted, decision=decision, limit=limit)
    if as_json:
        print_json(found)
    elif found.words:
        wide_console().print(pareto_table(of, found))
    else:
        typer.echo("Nothing was found.")


def print_json(answer: object) -> None:
    """Print frozen rows as one line of JSON, instants in RFC 3339."""
    import orjson

    typer.echo(orjson.dumps(answer, option=orjson.OPT_UTC_Z).decode())


def zone_of(plant: "Plant") -> tzinfo:
    """Return the time zone of the plant's days and shifts."""
    return ZoneInfo(plant.time_zone())


def opened_records(plant: "Plant") -> "contextlib.closing[ReadOnlyRecords]":
    """Open the records for questions, until the block ends. Raises LedgerError."""
    from neverblink.records.reading import ReadOnlyRecords

    return contextlib.closing(ReadOnlyRecords(plant.storage.ledger, answer_s=ANSWER_S))
