"""What a reviewer has before the eyes, and what stands in the way, in words of the page's language."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from neverblink import telemetry
from neverblink.console.access.said import SaidError
from neverblink.console.language import N_
from neverblink.console.reviews.asked import Before
from neverblink.errors import NeverblinkError
from neverblink.events import Decision, Review
from neverblink.http_serving.asking import BusyError
from neverblink.kafka import KafkaError
from neverblink.records.database import LedgerError
from neverblink.records.questions.part_story import PictureOf
from neverblink.records.questions.review_queue import DefectSeen, WaitingCount
from neverblink.reviewing import ReviewError, Taken
from neverblink.service_life import time_limit

ACT_S: Final = 15.0
"""So long a person waits for Kafka's word on an answer; then the page says that there is none."""

SHOWN: Final = frozenset({"image/jpeg", "image/png", "image/webp", "image/bmp", "image/gif"})
"""Kinds of pictures that browsers show."""

_KINDS = {
    "held": N_("Somebody else has this part now."),
    "raced": N_("Somebody else was faster: take another part."),
    "refused": N_("Answers of yours about parts of this line do not count."),
    "nothing": N_("There is no answer of yours that could be taken back."),
    "unheld": N_("You do not have this part any more: there is nothing to leave to somebody else."),
    "absent": N_("The records do not know this part (yet): take another one."),
}
_WHY = {
    "unlisted": N_("You are not among the reviewers of the plant file (records.reviewing): have yourself put on it."),
    "over": N_("Your time as a reviewer in the plant file (records.reviewing) is over."),
    "elsewhere": N_("You judge parts of other lines."),
}
_KAFKA = N_("Kafka is away or does not acknowledge: nothing is taken and no answer counts as given. Try again.")
_RECORDS = N_("The records cannot be read now: no answer was sent. Try again.")
_OTHER = N_("That cannot be done.")


class RefusalError(NeverblinkError):
    """What a reviewer wanted was not done. `sentence` says so in the page's language, `detail` what is known of it."""

    def __init__(self, status: int, sentence: str, detail: str = "") -> None:
        super().__init__(sentence)
        self.status, self.sentence, self.detail = status, sentence, detail


@dataclass(frozen=True, slots=True)
class Bench:
    """A part to judge, or none; what was answered last, what was taken back, what stands in the way."""

    before: Before
    taken: Taken | None = None
    picture: PictureOf | None = None
    overlay: PictureOf | None = None
    defects: tuple[DefectSeen, ...] = ()
    left_s: int = 0
    label: str = ""
    last: Review | None = None
    nothing_waits: bool = False
    fault: RefusalError | None = None


@dataclass(frozen=True, slots=True)
class Group:
    """How many wait for one reason; `more` says that there are more than were counted."""

    word: str
    count: int
    more: bool


@asynccontextmanager
async def in_words(gettext: Callable[[str], str]) -> AsyncIterator[None]:
    """Bound what is done within, and raise RefusalError where it is not done."""
    try:
        async with time_limit(ACT_S):
            yield
    except SaidError as error:
        raise RefusalError(422, gettext(_OTHER), error.in_words(gettext)) from error
    except ReviewError as error:
        # What is said of no kind, the reason says: in English, as the plant file's checks do.
        detail = gettext(_WHY[error.why]) if error.why in _WHY else "" if error.kind in _KINDS else str(error)
        raise RefusalError(409, gettext(_KINDS.get(error.kind, _OTHER)), detail) from error
    except (KafkaError, TimeoutError) as error:
        telemetry.logger("console").warning(f"a reviewer waits for Kafka: {error or 'no word within the time'}")
        raise RefusalError(503, gettext(_KAFKA)) from error
    except (LedgerError, BusyError) as error:
        telemetry.logger("console").warning(str(error))
        raise RefusalError(503, gettext(_RECORDS)) from error


def bench_of(taken: Taken, before: Before, now: datetime, last: Review | None = None) -> Bench:
    """Return the bench with a part on it. It says nothing of what the machine or anybody else thinks of the part.

    Of parts among which holdouts are it has not even what the machine saw: an answer that follows the machine says
    nothing about it.
    """
    why, passed = taken.severity, taken.judged.decision == Decision.PASS
    blind = passed if why is None else why.is_blind
    shown = {one.kind: one for one in taken.pictures if one.content_type in SHOWN}
    identity = taken.judged.identity
    return Bench(
        before,
        taken,
        shown.get("frame") or shown.get("thumbnail"),
        None if blind else shown.get("overlay"),
        () if blind else taken.defects,
        max(0, int((taken.until - now).total_seconds())),
        (identity.serial if identity is not None else None) or taken.judged.part,
        last,
    )


def groups_of(counts: Sequence[WaitingCount]) -> list[Group]:
    """Return how much waits, the worst first: by what reviewers are told, which does not say what is a holdout."""
    found: dict[str, Group] = {}
    for one in counts:
        word = one.severity.shown
        known = found.get(word, Group(word, 0, False))
        found[word] = Group(word, known.count + one.count, known.more or one.more)
    return list(found.values())
