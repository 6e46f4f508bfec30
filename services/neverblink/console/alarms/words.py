"""What a page, a mail or a program is told of an alarm, in one language."""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

from neverblink.console.alarms.book import Listed
from neverblink.console.alarms.kinds import kind_of
from neverblink.console.alarms.phrases import phrase
from neverblink.shown import visible


@dataclass(frozen=True, slots=True)
class Said:
    """An alarm in words. `place` is empty for the whole plant."""

    name: str
    place: str
    what: str
    cause: str
    consequence: str
    next_step: str


def said_of(listed: Listed, gettext: Callable[[str], str]) -> Said:
    """Return an alarm in words. What services wrote and is not known is shown as it came."""
    kind = kind_of(listed.kind)
    if kind.words is not None:
        given = defaultdict(lambda: "–", listed.values)  # an older console may have kept fewer
        what, cause, next_step = (
            gettext(one) % given for one in (kind.words.what, kind.words.cause, kind.words.next_step)
        )
    else:
        what, cause, next_step = (phrase(one, gettext) for one in (listed.what, listed.why, listed.next_step))
    place = "/".join(one for one in (listed.line, listed.station) if one)
    return Said(
        name=gettext(kind.name),
        place=place,
        what=_sentence(visible(what)),
        cause=_sentence(visible(cause)),
        consequence=gettext(kind.consequence),
        next_step=_sentence(visible(next_step)),
    )


def _sentence(words: str) -> str:
    """Return words as a sentence: services write them to stand within another."""
    if not words:
        return words
    return f"{words[0].upper()}{words[1:]}" + ("" if words[-1] in ".!?…" else ".")
