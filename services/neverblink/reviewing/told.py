"""What a reviewer's desk tells: a verdict that was taken, an answer as it was published, what is known of both."""

from dataclasses import dataclass
from datetime import datetime

from neverblink.events import Review
from neverblink.records.questions.part_story import PictureOf
from neverblink.records.questions.review_queue import DefectSeen, Judged, Said
from neverblink.records.review_severity import Severity
from neverblink.records.review_state import ReviewState


@dataclass(frozen=True, slots=True)
class Taken:
    """A verdict that is the reviewer's until an instant. `severity` is None for one that nothing asked to look at."""

    judged: Judged
    severity: Severity | None
    wants: str | None
    until: datetime
    defects: tuple[DefectSeen, ...]
    pictures: tuple[PictureOf, ...]


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer as it was published, and what all answers about its verdict come to now."""

    review: Review
    state: ReviewState
    judgement: str | None


@dataclass(frozen=True, slots=True)
class Seen:
    """A verdict and what was said of it, as far as this reviewer may be told; `hidden` answers are not shown."""

    judged: Judged
    state: ReviewState
    judgement: str | None
    wants: str | None
    answers: tuple[Said, ...]
    hidden: int
    held_by: str | None
    held_until: datetime | None
    defects: tuple[DefectSeen, ...]
