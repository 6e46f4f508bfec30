"""What a line's context becomes by one change: pure. Values are whole; what a change does not name stays as it was."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from pydantic import ValidationError

from neverblink.errors import NeverblinkError
from neverblink.events.context import MAX_ENTRIES, Context, ContextChange, ContextValues
from neverblink.events.envelope import first_fault
from neverblink.events.identity import context_id
from neverblink.events.parts import Identity, Tracking

# A part that was triggered just before a change may be asked for just after it: what held then is kept so long.
_KEPT = timedelta(minutes=1)


class ContextError(NeverblinkError, ValueError):
    """A change of a line's context that cannot be made; the message says why and what to do instead."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What somebody wants a line's context to be: fields by name, empty text takes one away.

    From an instant or from a part on; without either, from now on. `anew` begins from nothing: from now on, nothing
    is scheduled any more either.
    """

    fields: Mapping[str, str]
    attributes: Mapping[str, str]
    since: datetime | None = None
    from_part: Tracking | None = None
    anew: bool = False


@dataclass(frozen=True, slots=True)
class Changed:
    """The line's new state, the change for its history, and what was scheduled and is not any more."""

    context: Context
    change: ContextChange
    dropped: tuple[ContextValues, ...] = ()


def changed(before: Context | None, line: str, wish: Wish, *, at: datetime, by: str) -> Changed:
    """Return what a line's context becomes. Raises ContextError.

    What is scheduled for later instants stays. A part's number is no instant, so nobody here knows whether a part that
    values are scheduled from has come: whoever wants others from now on begins anew.
    """
    entries = () if before is None else before.entries
    if wish.since is not None and wish.since < at:
        raise ContextError(
            f"{wish.since.astimezone():%Y-%m-%d %H:%M:%S} has passed, and parts keep what they were given: leave the"
            " time out to change what holds from now on"
        )
    since = at if wish.from_part is None and wish.since is None else wish.since
    counted = [one for one in entries if one.from_part is not None] if since == at else []
    if counted and not wish.anew:
        raise ContextError(
            f"{line} has values scheduled from part {_part(counted[0])} on, and whether that part has come is not known"
            " here: clear, and name all values that hold from now on"
        )
    later = [one for one in entries if one.since is not None and one.since > at]
    dropped = (*counted, *later) if wish.anew and since == at else ()
    kept = [one for one in entries if one not in dropped]
    place = _place(kept, since, wish.from_part)
    values = _merged(None if wish.anew or not place else kept[place - 1], wish, since)
    if place and _begin(kept[place - 1]) == _begin(values):
        place -= 1
        del kept[place]
    kept.insert(place, values)
    kept = list(_still_needed(kept, at))
    if len(kept) > MAX_ENTRIES:
        raise ContextError(f"{line} has {MAX_ENTRIES} values scheduled, and more are not kept: clear them")
    event = context_id(line, at, by)
    return Changed(
        Context(id=event, line=line, entries=tuple(kept), at=at, by=by),
        ContextChange(id=event, line=line, values=values, at=at, by=by),
        dropped,
    )


def _place(entries: list[ContextValues], since: datetime | None, from_part: Tracking | None) -> int:
    """Return where values belong among others: behind those that begin no later, as far as that can be said."""
    for place, other in enumerate(entries):
        if since is not None and other.since is not None and other.since > since:
            return place
        if from_part is not None and other.from_part is not None and _order(other.from_part) > _order(from_part):
            return place
    return len(entries)


def _merged(before: ContextValues | None, wish: Wish, since: datetime | None) -> ContextValues:
    old = ContextValues() if before is None else before
    identity = old.identity.model_dump(exclude={"attributes"}, exclude_none=True) | dict(wish.fields)
    product = identity.pop("product", old.product)
    attributes = {name: text for name, text in {**old.identity.attributes, **wish.attributes}.items() if text}
    try:
        return ContextValues(
            identity=Identity.model_validate(
                {name: text for name, text in identity.items() if text} | {"attributes": attributes}
            ),
            product=product or None,
            since=since,
            from_part=wish.from_part,
        )
    except ValidationError as error:
        raise ContextError(f"the context cannot be so: {first_fault(error)}") from error


def _still_needed(entries: list[ContextValues], now: datetime) -> Iterator[ContextValues]:
    """Yield the values that some part may still have: nothing before the last one that has held for a while."""
    held = [place for place, one in enumerate(entries) if one.since is not None and one.since <= now - _KEPT]
    yield from entries[held[-1] if held else 0 :]


def _begin(values: ContextValues) -> tuple[datetime | None, Tracking | None]:
    return values.since, values.from_part


def _order(part: Tracking) -> tuple[int, int]:
    return part.epoch, part.number


def _part(values: ContextValues) -> str:
    assert values.from_part is not None
    return f"{values.from_part.epoch}/{values.from_part.number}"
