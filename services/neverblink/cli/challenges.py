"""Reference parts: described, announced, and what became of them; and the alarms that stand."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from neverblink.cli.application import (
    DEFAULT_PLANT,
    EXIT_BAD_RESULT,
    PLANT,
    app,
    challenge_app,
    read_plant,
    wide_console,
)
from neverblink.cli.context import part_of
from neverblink.cli.ledger_questions import ANSWER_S, AS_JSON
from neverblink.cli.models import BY, stamp_of

if TYPE_CHECKING:
    from neverblink.plant.references import References
    from neverblink.records.questions.challenges import ChallengePart

_LINES = Annotated[list[str] | None, typer.Option("--line", help="Line; may be given again. Default: all.")]


@challenge_app.command("add")
def challenge_add(
    name: Annotated[str, typer.Argument(help="What the part is called, such as scratch-07.")],
    product: Annotated[str, typer.Option(help="Which product it is one of.")],
    plant: PLANT = DEFAULT_PLANT,
    defect: Annotated[list[str] | None, typer.Option(help="Type of a defect that it has; may be given again.")] = None,
    good: Annotated[bool, typer.Option("--good", help="It has none: it must pass.")] = False,
    picture: Annotated[list[Path] | None, typer.Option(help="Picture of it, copied; may be given again.")] = None,
    serial: Annotated[
        str | None, typer.Option(help="Its own serial number: where the line reads it, it needs no announcement.")
    ] = None,
    note: Annotated[str | None, typer.Option(help="Whatever people should know of it.")] = None,
) -> None:
    """Describe a reference part in the plant's file of them.

    `neverblink challenge add scratch-07 --product pcb --defect scratch --picture scratch-07.png`
    """
    described = read_plant(plant)
    from neverblink.challenges.describing import NewReference, add_reference

    if good == bool(defect):
        raise typer.BadParameter("say what is known of the part: --defect TYPE for each of its defects, or --good")
    described.product(product)
    file = described.proof.challenges.references
    added = add_reference(file, NewReference(name, product, defect or (), picture or (), serial, note))
    typer.echo(f"{file}: {added.id}, a {added.product}, {added.in_words}, {len(added.pictures)} pictures")


@challenge_app.command("list")
def challenge_list(plant: PLANT = DEFAULT_PLANT, as_json: AS_JSON = False) -> None:
    """Print the reference parts, and what the schedule asks of the lines."""
    described = read_plant(plant)
    import orjson
    from rich.table import Table

    from neverblink.job_life.terminal import say, shown
    from neverblink.plant.references import load_references

    settings = described.proof.challenges
    known = load_references(settings.references)
    console = wide_console()
    if as_json:
        console.print_json(
            orjson.dumps(
                {
                    "references": [one.model_dump(mode="json") for one in known.references],
                    "schedule": [one.model_dump(mode="json") for one in settings.schedule],
                }
            ).decode()
        )
        return
    if not known.references:
        say(console, f"{settings.references} describes no reference part: `neverblink challenge add` adds one")
        return
    table = Table("reference", "product", "must", "answer", "serial", "pictures", "note")
    for one in known.references:
        must = "pass" if one.is_good else "be rejected"
        cells = (one.id, one.product, must, one.in_words, one.serial or "", str(len(one.pictures)), one.note or "")
        table.add_row(*map(shown, cells))
    console.print(table)
    for due in settings.schedule:
        shifts = f"shift {', '.join(due.shifts)}" if due.shifts else "shift"
        wanted = ", ".join(due.references)
        say(console, f"{due.line}: {wanted} within {due.within_min:g} min of the first part of each {shifts}")
        for name in due.references:
            if known.get(name) is None:
                say(console, f"note: {name} is scheduled and not described")


@challenge_app.command("announce")
def challenge_announce(
    name: Annotated[str, typer.Argument(help="The reference part that comes.")],
    line: Annotated[str, typer.Option(help="Line that it comes to.")],
    plant: PLANT = DEFAULT_PLANT,
    part: Annotated[
        str | None, typer.Option(help="EPOCH/NUMBER, as in the part's name. Default: the next part.")
    ] = None,
    station: Annotated[str | None, typer.Option(help="The one station that must judge it. Default: all.")] = None,
    lead_s: Annotated[
        float, typer.Option("--lead", min=1, max=3600, help="Seconds from now until it may come, for the next part.")
    ] = 5.0,
    within_min: Annotated[
        float, typer.Option("--within", min=0.1, max=1440, help="Minutes until it must have come.")
    ] = 10.0,
    by: BY = None,
) -> None:
    """Say that a reference part comes: camera nodes mark it, and the ledger looks whether it comes and what it is told.

    `neverblink challenge announce scratch-07 --line line-1 --part 3/48412`
    """
    described = read_plant(plant)
    from neverblink.challenges.announcing import Announced, announce, announcement

    stamp = stamp_of(by, None)
    tracking = None if part is None else part_of(part, described.line(line))
    wanted = Announced(
        name, line, stamp.by, station, tracking, timedelta(seconds=lead_s), timedelta(minutes=within_min)
    )
    event = announcement(described, wanted, datetime.now(UTC))
    asyncio.run(announce(described, event))
    until = event.expires.astimezone().strftime("%H:%M:%S")
    if event.tracking is not None:
        typer.echo(f"{name} is part {event.epoch}/{event.number} of {line}; it must have come by {until}")
    else:
        begins = event.at.astimezone().strftime("%H:%M:%S")
        typer.echo(f"{name} is the first part of {line} triggered from {begins} on; it must have come by {until}")


@challenge_app.command("history")
def challenge_history(
    reference: Annotated[str | None, typer.Argument(help="Reference part. Default: all.")] = None,
    plant: PLANT = DEFAULT_PLANT,
    line: _LINES = None,
    days: Annotated[float, typer.Option(min=0.01, max=3660, help="Of so many days back.")] = 30.0,
    as_json: AS_JSON = False,
) -> None:
    """Print each time that a reference part came: what was decided, by which model, and whether it was right."""
    described = read_plant(plant)
    import dataclasses

    import orjson
    from rich.table import Table

    from neverblink.job_life.terminal import say, shown
    from neverblink.plant.references import load_references
    from neverblink.records.questions.challenges import challenge_ids, challenge_parts
    from neverblink.records.reading import ReadOnlyRecords

    names = [described.line(one).name for one in line or ()] or [one.name for one in described.lines]
    known = load_references(described.proof.challenges.references)
    since = datetime.now(UTC) - timedelta(days=days)
    records = ReadOnlyRecords(described.storage.ledger, answer_s=ANSWER_S)
    try:
        with records.asking() as session:
            parts = challenge_parts(session, challenge_ids(session, names, since, reference))
    finally:
        records.close()
    console = wide_console()
    if as_json:
        rows = [{**dataclasses.asdict(part), "outcome": _outcome(part, known)} for part in parts]
        console.print_json(orjson.dumps(rows).decode())
        return
    if not parts:
        say(console, f"no reference part came to {', '.join(names)} in the last {days:g} days")
        return
    table = Table("came", "line", "reference", "answer", "part", "decision", "score", "defects", "model", "outcome")
    for part in parts:
        found = known.get(part.reference)
        answer = "?" if found is None else found.in_words
        score = "" if part.ratio is None else f"{part.ratio:.2f}"
        came = part.triggered.astimezone().strftime("%Y-%m-%d %H:%M:%S")
        cells = (came, part.line, part.reference, answer, part.part, part.decision, score)
        more = (", ".join(part.defects), part.artifact or "", _outcome(part, known))
        table.add_row(*map(shown, (*cells, *more)))
    console.print(table)
    for name in sorted({part.reference for part in parts}):
        mine = [_outcome(part, known) for part in parts if part.reference == name]
        counts = ", ".join(f"{mine.count(word)} {word}" for word in sorted(set(mine)))
        say(console, f"{name}: came {len(mine)} times in {days:g} days: {counts}")


@app.command("alarms", short_help="What stands and what was cleared lately: what, likely cause, next step.")
def alarms_command(
    plant: PLANT = DEFAULT_PLANT,
    line: _LINES = None,
    days: Annotated[float, typer.Option(min=0, max=3660, help="Cleared ones of so many days back too.")] = 7.0,
    as_json: AS_JSON = False,
) -> None:
    """Print the alarms that stand, then those that were cleared lately: what, the likely cause, the next step.

    Exit code 1 while one stands.
    """
    described = read_plant(plant)
    import dataclasses

    import orjson
    from rich.table import Table

    from neverblink.job_life.terminal import say, shown
    from neverblink.records.questions.alarms import alarms
    from neverblink.records.reading import ReadOnlyRecords

    names = [described.line(one).name for one in line or ()] or [one.name for one in described.lines]
    records = ReadOnlyRecords(described.storage.ledger, answer_s=ANSWER_S)
    try:
        with records.asking() as session:
            found = alarms(session, names, cleared_since=datetime.now(UTC) - timedelta(days=days))
    finally:
        records.close()
    console = wide_console()
    standing = [one for one in found if one.is_open]
    if as_json:
        console.print_json(orjson.dumps([dataclasses.asdict(one) for one in found]).decode())
    elif not found:
        say(console, f"no alarm stands, and none was cleared in the last {days:g} days")
    else:
        table = Table("", "since", "line", "kind", "what, cause, next step")
        for one in found:
            since = one.since.astimezone().strftime("%Y-%m-%d %H:%M:%S")
            state = one.severity if one.is_open else "cleared"
            text = f"{one.what}\nLikely {one.cause}.\nNext: {one.next_step}" if one.is_open else one.what
            table.add_row(shown(state), since, shown(one.line), shown(one.kind), _lines_shown(text))
        console.print(table)
        say(console, f"{len(standing)} {'alarm stands' if len(standing) == 1 else 'alarms stand'}")
    if standing:
        raise typer.Exit(EXIT_BAD_RESULT)


def _lines_shown(text: str) -> str:
    from neverblink.job_life.terminal import shown

    return "\n".join(shown(line) for line in text.split("\n"))


def _outcome(part: "ChallengePart", known: "References") -> str:
    """Return in a word whether what was decided is right: caught, missed, passed, false reject, unscored, unknown."""
    reference = known.get(part.reference)
    if part.decision == "unscored":
        return "unscored"
    if reference is None:
        return "not described"
    words: dict[tuple[bool, Any], str] = {
        (True, "pass"): "passed",
        (True, "reject"): "false reject",
        (False, "pass"): "MISSED",
        (False, "reject"): "caught",
    }
    return words[reference.is_good, part.decision]
