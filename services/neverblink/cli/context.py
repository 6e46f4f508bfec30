"""What is on a line: order, lot, product and more, now and from later on."""

import asyncio
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from neverblink.cli.application import DEFAULT_PLANT, PLANT, context_app, read_plant, wide_console
from neverblink.cli.models import BY, stamp_of

if TYPE_CHECKING:
    from neverblink.events import Context, ContextChange, ContextValues, Tracking
    from neverblink.plant import Line

_FIELDS = ("order", "lot", "recipe", "carrier", "product")
_NO_TIME = "write an instant such as 2026-03-02T14:00, 14:00 for the next time it is so late, or one with its zone"


@context_app.command("set")
def context_set(
    line: Annotated[str, typer.Argument(help="Name of the line.")],
    plant: PLANT = DEFAULT_PLANT,
    order: Annotated[str | None, typer.Option(help="Production order; empty takes it away, here and below.")] = None,
    lot: Annotated[str | None, typer.Option(help="Lot or batch.")] = None,
    recipe: Annotated[str | None, typer.Option(help="Recipe that the line runs.")] = None,
    carrier: Annotated[str | None, typer.Option(help="Pallet, tray or carrier.")] = None,
    product: Annotated[str | None, typer.Option(help="What is made, for the records; it changes no model.")] = None,
    attribute: Annotated[list[str] | None, typer.Option(help="NAME=VALUE; may be given again.")] = None,
    since: Annotated[str | None, typer.Option("--from", help="Schedule it: 14:00, or 2026-03-02T14:00.")] = None,
    from_part: Annotated[
        str | None, typer.Option("--from-part", help="Schedule it from a part on: EPOCH/NUMBER, as in its name.")
    ] = None,
    clear: Annotated[bool, typer.Option("--clear", help="Begin from nothing; drop what is scheduled.")] = False,
    by: BY = None,
) -> None:
    """Say what is on a line, from the next part on or from later on. What is not named stays as it was.

    `neverblink context set line-1 --order 4711 --lot L42`

    Parts carry it from their frame to the verdict, the PLC's outcome and the reviews. What the PLC itself says wins.
    """
    described = read_plant(plant)
    from neverblink.events.context_schedule import Wish, changed
    from neverblink.job_life.terminal import say
    from neverblink.kafka.line_contexts import change_context

    if since is not None and from_part is not None:
        raise typer.BadParameter("schedule it with --from or with --from-part, not with both")
    stamp = stamp_of(by, None)
    named = dict(zip(_FIELDS, (order, lot, recipe, carrier, product), strict=True))
    wish = Wish(
        {name: text for name, text in named.items() if text is not None},
        dict(_attribute(text) for text in attribute or ()),
        None if since is None else _instant(since, stamp.at),
        None if from_part is None else part_of(from_part, described.line(line), "--from-part"),
        clear,
    )
    if not (wish.fields or wish.attributes or clear):
        raise typer.BadParameter("name what is on the line, such as --lot L42, or --clear")
    described.line(line)
    done = asyncio.run(
        change_context(
            described.kafka, described.site, line, lambda before: changed(before, line, wish, at=stamp.at, by=stamp.by)
        )
    )
    console = wide_console()
    for dropped in done.dropped:
        say(console, f"note: not scheduled any more: {_sentence(dropped)}")
    for note in _about_product(product, described.line(line)):
        say(console, f"note: {note}")
    say(console, f"{line}: {_sentence(done.change.values)}")


@context_app.command("show")
def context_show(
    line: Annotated[list[str] | None, typer.Argument(help="Lines to show. Default: all of the plant.")] = None,
    plant: PLANT = DEFAULT_PLANT,
    history: Annotated[bool, typer.Option("--history", help="Everything that was ever put onto the lines.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Print what is on the lines and what is scheduled; with --history what was, when, and by whom."""
    described = read_plant(plant)
    import orjson

    from neverblink.job_life.terminal import say
    from neverblink.kafka.line_contexts import context_history, contexts_of

    names = [described.line(name).name for name in line or ()] or [one.name for one in described.lines]
    contexts = asyncio.run(contexts_of(described.kafka))
    console = wide_console()
    events: Sequence[Context | ContextChange] = [contexts[name] for name in names if name in contexts]
    if history:
        events = asyncio.run(context_history(described.kafka, names))
    if as_json:
        console.print_json(orjson.dumps([event.model_dump(mode="json") for event in events]).decode())
        return
    if not events:
        say(console, f"nothing is on {', '.join(names)}: `neverblink context set` says what is")
        return
    console.print(_table(events))


def _table(events: "Iterable[Context | ContextChange]") -> Any:
    from rich.table import Table

    from neverblink.events import ContextChange
    from neverblink.job_life.terminal import shown

    now = datetime.now(UTC)
    table = Table("line", "from", *_FIELDS, "attributes", "by", "at", "")
    for event in events:
        entries = (event.values,) if isinstance(event, ContextChange) else event.entries
        # Of parts that the PLC counts nobody knows here whether they have come.
        held = None if isinstance(event, ContextChange) else event.of_part(now, None)
        for values in entries:
            identity = values.identity
            fields = (identity.order, identity.lot, identity.recipe, identity.carrier, values.product)
            attributes = ", ".join(f"{name}={text}" for name, text in identity.attributes.items())
            at = event.at.astimezone().strftime("%Y-%m-%d %H:%M")
            cells = (event.line, _begin(values), *(text or "" for text in fields), attributes, event.by, at)
            table.add_row(*map(shown, cells), "now" if values is held else "")
    return table


def _begin(values: "ContextValues") -> str:
    if values.since is not None:
        return values.since.astimezone().strftime("%Y-%m-%d %H:%M:%S")
    return "" if values.from_part is None else f"part {values.from_part.epoch}/{values.from_part.number}"


def _sentence(values: "ContextValues") -> str:
    said = values.identity.model_dump(exclude_none=True, exclude={"attributes"})
    said |= {} if values.product is None else {"product": values.product}
    said |= values.identity.attributes
    return f"{', '.join(f'{name} {text}' for name, text in said.items()) or 'nothing'} from {_begin(values)} on"


def _about_product(product: str | None, line: "Line") -> Iterable[str]:
    others = sorted({station.product for station in line.stations} - {product})
    if product and others:
        yield (
            f"{line.name} inspects {', '.join(others)} and goes on so: the product is recorded, models are changed by"
            " `neverblink models` and the plant file"
        )


def _attribute(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise typer.BadParameter(f"--attribute {text!r} is not NAME=VALUE")
    return name, value


def _instant(text: str, now: datetime) -> datetime:
    """Return an instant as a person writes it, in this machine's time zone where none is said."""
    try:
        if len(text) <= len("HH:MM:SS") and ":" in text:
            today = datetime.fromisoformat(f"{now.astimezone():%Y-%m-%d}T{text}").astimezone()
            return today if today >= now else today + timedelta(days=1)
        moment = datetime.fromisoformat(text)
        return moment.astimezone()
    except (ValueError, OverflowError) as error:
        raise typer.BadParameter(f"--from {text!r} is no time: {_NO_TIME}") from error


def part_of(text: str, line: "Line", option: str = "--part") -> "Tracking":
    """Return the part that a person names. Raises BadParameter; `option` is what it was given by."""
    from pydantic import ValidationError

    from neverblink.events import Tracking

    if line.plc is None:
        raise typer.BadParameter(f"no PLC counts the parts of {line.name}, so {option} cannot name one")
    epoch, _, number = text.removeprefix(f"{line.name}/").partition("/")
    try:
        return Tracking.model_validate({"epoch": epoch, "number": number})
    except ValidationError as error:
        raise typer.BadParameter(
            f"{option} {text!r} names no part: write EPOCH/NUMBER as in the part's name {line.name}/3/50000"
        ) from error
