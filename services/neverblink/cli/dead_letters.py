"""Poison records: seen by people, and written to their topics again."""

import asyncio
import sys
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from neverblink.cli.application import (
    DEFAULT_PLANT,
    EXIT_BAD_RESULT,
    PLANT,
    dead_letters_app,
    read_plant,
    wide_console,
)
from neverblink.cli.models import BY, WHY, stamp_of

if TYPE_CHECKING:
    from neverblink.kafka.replaying import Plan, Replayed, Seen
    from neverblink.plant import Plant

_TOPIC = Annotated[str | None, typer.Option("--topic", help="Records of a topic, by its short name.")]
_SERVICE = Annotated[str | None, typer.Option("--service", help="Records that this service set aside.")]
_FROM = Annotated[
    datetime | None, typer.Option("--from", help="Set aside since; in this machine's time zone where none is said.")
]
_AS_JSON = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


@dead_letters_app.command("list")
def dead_letters_list(
    plant: PLANT = DEFAULT_PLANT,
    topic: _TOPIC = None,
    service: _SERVICE = None,
    since: _FROM = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many are shown, the newest.")] = 20,
    as_json: _AS_JSON = False,
) -> None:
    """Show what services could not read: where it lay, why, and whether somebody had it written again."""
    described = read_plant(plant)
    found = _chosen(described, topic, service, since)
    console = wide_console()
    if as_json:
        import orjson

        console.print_json(orjson.dumps([_as_dict(one) for one in found[:limit]]).decode())
        return
    if not found:
        console.print("there is no such dead letter")
        return
    console.print(_table(found[:limit]))
    if len(found) > limit:
        console.print(f"{len(found) - limit} older ones are not shown: --limit, --from, --topic, --service")


@dead_letters_app.command("replay")
def dead_letters_replay(
    letters: Annotated[
        list[str] | None, typer.Argument(help="Ids of letters, or how they begin. Default: those of the options.")
    ] = None,
    plant: PLANT = DEFAULT_PLANT,
    topic: _TOPIC = None,
    service: _SERVICE = None,
    since: _FROM = None,
    most: Annotated[int, typer.Option(min=1, max=1000, help="Refuse when there are more.")] = 100,
    again: Annotated[bool, typer.Option("--again", help="Even what was written again before.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    by: BY = None,
    why: WHY = None,
) -> None:
    """Write records to their topics again, once, after saying what it will do; who did it stays on `replays`.

    `neverblink dead-letters replay --topic verdicts --service ledger --why "the ledger reads them since its update"`
    """
    described = read_plant(plant)
    from neverblink.job_life.terminal import say
    from neverblink.kafka.replaying import planned, replay

    if not (letters or topic or service or since):
        raise typer.BadParameter("name letters, or choose them by --topic, --service or --from")
    stamp = stamp_of(by, why)
    found = _named(_chosen(described, topic, service, since), letters)
    console = wide_console()
    plan = planned(found, again=again)
    if len(plan.wanted) > most:
        raise typer.BadParameter(f"these are {len(plan.wanted)} records, more than --most {most}: narrow the choice")
    _tell_plan(plan, described, console)
    if not plan.wanted:
        raise typer.Exit(EXIT_BAD_RESULT)
    if not yes and not (sys.stdin.isatty() and typer.confirm("write them?")):
        say(console, "nothing was written; --yes does it without a question")
        raise typer.Exit(EXIT_BAD_RESULT)
    results: list[Replayed] = []

    def tell(done: "Replayed") -> None:
        results.append(done)
        _tell_done(done, console)

    asyncio.run(
        replay(described.kafka, described.site, plan.wanted, by=stamp.by, why=stamp.why, now=stamp.at, tell=tell)
    )
    written = sum(done.place is not None for done in results)
    say(console, f"{written} of {len(plan.wanted)} records were written again by {stamp.by}")
    if written < len(plan.wanted):
        raise typer.Exit(EXIT_BAD_RESULT)


def _chosen(plant: "Plant", topic: str | None, service: str | None, since: datetime | None) -> "list[Seen]":
    from neverblink.events import TOPICS
    from neverblink.kafka.replaying import letters
    from neverblink.plant.section import suggestion

    if topic is not None and topic not in TOPICS:
        raise typer.BadParameter(f"there is no topic {topic!r}{suggestion(topic, TOPICS)}")
    found = asyncio.run(letters(plant.kafka, since=None if since is None else since.astimezone()))
    return [
        one
        for one in found
        if (topic is None or one.letter.topic == topic) and (service is None or one.letter.service == service)
    ]


def _named(found: "Sequence[Seen]", names: Sequence[str] | None) -> "Sequence[Seen]":
    if not names:
        return found
    chosen = []
    for name in names:
        matching = [one for one in found if one.letter.id.startswith(name)]
        if len(matching) != 1:
            said = "no dead letter is" if not matching else f"{len(matching)} dead letters are"
            raise typer.BadParameter(
                f"{said} called {name!r}: `neverblink dead-letters list --json` has their whole ids"
            )
        chosen += matching
    return chosen


def _tell_plan(plan: "Plan", plant: "Plant", console: Any) -> None:
    from neverblink.events import TOPICS
    from neverblink.job_life.terminal import say

    for seen, why in plan.refused:
        say(console, f"not written: {_place(seen)} of letter {seen.letter.id}: {why}")
    for topic in sorted({seen.letter.topic for seen in plan.wanted}):
        count = sum(seen.letter.topic == topic for seen in plan.wanted)
        readers = ", ".join(TOPICS[topic].readers)
        name = TOPICS[topic].full_name(plant.kafka.topic_prefix)
        say(console, f"{count} records go to {name} again, for all its readers ({readers}), who know them by ce_id")


def _tell_done(done: "Replayed", console: Any) -> None:
    from neverblink.job_life.terminal import say

    if done.place is None:
        say(console, f"not written: {_place(done.seen)} of letter {done.seen.letter.id}: {done.fault}")
    else:
        topic = done.seen.letter.topic
        say(console, f"{_place(done.seen)} is written again as {topic}[{done.place.partition}]@{done.place.offset}")


def _place(seen: "Seen") -> str:
    return f"{seen.letter.topic}[{seen.letter.partition}]@{seen.letter.offset}"


def _table(found: "Sequence[Seen]") -> Any:
    from rich.table import Table

    from neverblink.job_life.terminal import shown

    table = Table("letter", "set aside", "by", "record", "key", "bytes", "why", "written again")
    for seen in found:
        letter = seen.letter
        last = seen.replays[-1] if seen.replays else None
        again = f"{last.at.astimezone():%Y-%m-%d %H:%M} by {last.by}" if last else ""
        at = letter.at.astimezone().strftime("%Y-%m-%d %H:%M:%S")
        size = f"{seen.size}{', cut' if letter.truncated else ''}"
        cells = (letter.id[:8], at, letter.service, _place(seen), letter.recordkey, size, letter.why, again)
        table.add_row(*map(shown, cells))
    return table


def _as_dict(seen: "Seen") -> dict[str, object]:
    told = seen.letter.model_dump(mode="json", exclude={"body", "content_type"})
    told["size"] = seen.size
    told["replays"] = [one.model_dump(mode="json") for one in seen.replays]
    told["refusal"] = seen.refusal(again=False)
    return told
