"""What a request of the page for reviewers says: which parts, what was answered, what was done here before."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from neverblink.console.access.roles import Role
from neverblink.console.access.said import SaidError
from neverblink.console.desk import Desk
from neverblink.console.visitors import Form, Visitor
from neverblink.events import Judgement
from neverblink.reviewing import Answer, ReviewError
from neverblink.reviewing.answers import MOST_REGIONS, judgement_in, region_of
from neverblink.reviewing.desk import Where

MOST_DONE: Final = 50
"""So many answers can be taken back one after another, and so many parts left to others."""

_VERDICT = re.compile(r"[A-Za-z0-9._-]{1,64}")
_LONG = 4000


class AskedError(SaidError):
    """A request that says nothing that could be done; the message says what is wrong."""


@dataclass(frozen=True, slots=True)
class Wish:
    """Which parts somebody wants to judge: of a line, a station (`line/station`), a product; empty: of all."""

    line: str = ""
    station: str = ""
    product: str = ""

    def where(self) -> Where:
        """Return it as the reviewers' desk is asked."""
        line, _, station = self.station.partition("/")
        return Where(
            (self.line,) if self.line else (),
            (line, station) if station else None,
            self.product or None,
        )


@dataclass(frozen=True, slots=True)
class Before:
    """What was done on this page: verdicts that were answered, the last last, and those left to others."""

    done: tuple[str, ...] = ()
    passed: tuple[str, ...] = ()


def lines_of(desk: Desk, visitor: Visitor) -> tuple[str, ...]:
    """Return the lines whose parts the visitor may judge."""
    held = visitor.account.roles
    return tuple(line for line in desk.lines if (held.on(line) or Role.VIEWER) >= Role.REVIEWER)


def stations_of(desk: Desk, lines: Sequence[str]) -> tuple[str, ...]:
    """Return the stations of lines, as `line/station`."""
    return tuple(f"{line.name}/{one.name}" for line, one in desk.plant.stations() if line.name in lines)


def wish_of(desk: Desk, lines: Sequence[str], line: str, station: str, product: str) -> Wish:
    """Return which parts are wanted. Raises AskedError for what the plant has not, or the visitor may not judge."""
    if line and line not in lines:
        raise AskedError("there is no line %(name)s whose parts you may judge", name=line[:70])
    if station and station not in stations_of(desk, lines):
        raise AskedError("there is no station %(name)s whose parts you may judge", name=station[:140])
    if product and all(one.name != product for one in desk.plant.products):
        raise AskedError("there is no product %(name)s", name=product[:70])
    return Wish(line, station, product)


def before_of(form: Form) -> Before:
    """Return what was done on this page, as the page says it. Raises AskedError."""
    return Before(_verdicts(form, "done"), _verdicts(form, "passed"))


def verdict_of(form: Form) -> str:
    """Return the verdict that a form is about. Raises AskedError."""
    found = form.get("verdict", 64)
    if not _VERDICT.fullmatch(found):
        raise AskedError("take a part first")
    return found


def answer_of(form: Form) -> Answer:
    """Return what a form answers. Raises AskedError for what contradicts itself, ReviewError for what is too long."""
    verdict = verdict_of(form)
    try:
        judgement = judgement_in(form.get("judgement", 20))
        regions = tuple(region_of(text) for text in form.get("regions", _LONG).split(";") if text.strip())
    except ReviewError as error:
        raise AskedError("the page has sent an answer that cannot be read: load it again") from error
    if len(regions) > MOST_REGIONS:
        raise AskedError("%(most)s regions are the most", most=MOST_REGIONS)
    kind = form.get("other", 64) or form.get("type", 64)
    if judgement is not Judgement.DEFECT and (kind or regions):
        raise AskedError("a type or a region is of a defect alone: remove it, or answer that the part is defective")
    return Answer(verdict, judgement, kind or None, regions, form.get("comment", 2000) or None)


def _verdicts(form: Form, field: str) -> tuple[str, ...]:
    found = tuple(form.get(field, 65 * MOST_DONE).split())
    if not all(_VERDICT.fullmatch(one) for one in found):
        raise AskedError("the page has sent an answer that cannot be read: load it again")
    return found[-MOST_DONE:]
