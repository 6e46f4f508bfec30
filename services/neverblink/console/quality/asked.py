"""What a page of figures is asked for: line, product, lot, shift and period, from an address to a filter of counts."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, tzinfo
from typing import Final
from urllib.parse import urlencode

from neverblink.console.access.said import SaidError
from neverblink.records.questions.rollup_filter import RollupFilter

SPANS: Final = (1, 7, 28, 91)
"""Days back from now that a page offers."""

USUAL: Final = 7
LONGEST: Final = timedelta(days=400)
ALL: Final = "*"
"""The word of an address for all lines that somebody may see."""


class FiguresError(SaidError):
    """An address that asks for figures which cannot be; the message says what is wrong."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked. `line` None is all lines; `days` counts back from now, else `first` to `last` are whole days.

    A lot without days is asked for whole: then nothing bounds its time.
    """

    line: str | None
    product: str | None
    lot: str | None
    shift: str | None
    days: int | None
    first: date | None
    last: date | None
    since: datetime | None
    until: datetime | None

    def filter(self, seen: tuple[str, ...] | None) -> RollupFilter:
        """Return which counts are added up, of the lines in `seen` alone; None: of all."""
        lines = None if self.line is None else (self.line,)
        wanted = RollupFilter(lines, None, self.product, self.lot, self.since, self.until, self.shift)
        return wanted.within(seen)

    def query(self, **changed: str | None) -> str:
        """Return the address's part that asks for the same, with what is changed; None leaves a word out."""
        words: dict[str, str | None] = {
            "line": self.line or ALL,
            "product": self.product,
            "lot": self.lot,
            "shift": self.shift,
            "days": None if self.days is None else str(self.days),
            "from": None if self.first is None else self.first.isoformat(),
            "to": None if self.last is None else self.last.isoformat(),
        }
        return urlencode({name: value for name, value in (words | changed).items() if value is not None})


@dataclass(frozen=True, slots=True)
class Words:
    """What an address says, as it came."""

    line: str = ""
    product: str = ""
    lot: str = ""
    shift: str = ""
    days: str = ""
    first: str = ""
    last: str = ""


def asked_of(words: Words, lines: Sequence[str], shifts: Sequence[str], zone: tzinfo, now: datetime) -> Asked:
    """Return what is asked, of the first line where none is named; a lot is asked for whole, whenever it came.

    `lines` are those that may be seen, and the one that is named is among them. Raises FiguresError.
    """
    if words.shift and words.shift not in shifts:
        raise FiguresError("the plant has no shift %(name)s", name=words.shift[:70])
    line = None if words.line == ALL else words.line or next(iter(lines), None)
    first, last = day_of(words.first), day_of(words.last)
    rest = (words.product or None, words.lot or None, words.shift or None)
    if words.lot and first is None and last is None:
        return Asked(line, *rest, None, None, None, None, None)
    if first is None and last is None:
        days = _days(words.days)
        return Asked(line, *rest, days, None, None, now - timedelta(days=days), None)
    today = now.astimezone(zone).date()
    begin, end = first or last or today, last or today
    since, until = (_midnight(day, zone) for day in (begin, end + timedelta(days=1)))
    if until <= since:
        raise FiguresError("the first day lies after the last one")
    if until - since > LONGEST:
        raise FiguresError("%(most)s days are the most", most=LONGEST.days)
    return Asked(line, *rest, None, begin, end, since, until)


def day_of(text: str) -> date | None:
    """Return a day as an address writes it, None of no text. Raises FiguresError."""
    if not text:
        return None
    try:
        found = date.fromisoformat(text)
    except ValueError as error:
        raise FiguresError("%(text)s is no day: write 2026-03-02", text=text[:20]) from error
    if not 1971 <= found.year <= 2999:
        raise FiguresError("%(text)s is no day: write 2026-03-02", text=text[:20])
    return found


def _days(text: str) -> int:
    if not text:
        return USUAL
    if not text.isascii() or not text.isdigit() or len(text) > 4 or not 1 <= int(text) <= LONGEST.days:
        raise FiguresError("%(most)s days are the most", most=LONGEST.days)
    return int(text)


def _midnight(day: date, zone: tzinfo) -> datetime:
    return datetime.combine(day, time(), zone)
