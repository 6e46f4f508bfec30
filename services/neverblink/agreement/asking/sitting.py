"""One appraiser's sitting: the next part of the round, blind, and what was said of it. Neither screen nor clock."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import cv2

from neverblink.agreement.asking.answers import AnswerFile, Given, standing, whole_rounds
from neverblink.agreement.study import PICTURES, AgreementError, Answer, Study, StudyPart
from neverblink.vision.decode import Image, ImageError, decode


@dataclass(frozen=True, slots=True)
class Asked:
    """What is shown: a picture's place in its round, and the round, both from 1 on. Nothing tells which part it is."""

    part: StudyPart
    place: int
    of: int
    round: int
    rounds: int


class Sitting:
    """One round of one appraiser. It goes on where an earlier sitting ended, and ends with the round.

    `now` gives the instant of an answer, `seconds` a time that only grows, for how long a part was looked at.
    """

    def __init__(
        self, study: Study, answers: AnswerFile, now: Callable[[], datetime], seconds: Callable[[], float]
    ) -> None:
        self._study, self._answers, self._now, self._seconds = study, answers, now, seconds
        done = whole_rounds(study, answers.given)
        self.round = next((one for one in range(1, study.rounds + 1) if one not in done), None)
        self._order = [] if self.round is None else study.order(answers.appraiser, self.round)
        self._again: int | None = None
        self._shown: Asked | None = None
        self._since = 0.0

    def next(self) -> Asked | None:
        """Return what is to be judged now, None when the round is over. Asked again, it is the same one."""
        if self._shown is None:
            place = self._place()
            if place is None or self.round is None:
                return None
            self._shown = Asked(self._order[place], place + 1, len(self._order), self.round, self._study.rounds)
            self._since = self._seconds()
        return self._shown

    def answer(self, said: Answer) -> None:
        """Keep what was said of the part that is shown; it is on disk when this returns. Raises AgreementError."""
        asked = self._shown
        if asked is None:
            raise AgreementError("no part is shown that an answer could be about")
        looked = max(0.0, self._seconds() - self._since)
        self._answers.add(
            Given(round=asked.round, part=asked.part.id, answer=said, at=self._now(), seconds=round(looked, 1))
        )
        self._shown = self._again = None

    def back(self) -> bool:
        """Go back to the part before, to answer again; False where there is none in this round."""
        now = self._place() if self._shown is None else self._shown.place - 1
        place = len(self._order) if now is None else now
        if place == 0:
            return False
        self._again, self._shown = place - 1, None
        return True

    def _place(self) -> int | None:
        if self._again is not None:
            return self._again
        assert self.round is not None or not self._order
        answered = standing(self._answers.given, self.round or 0)
        return next((place for place, part in enumerate(self._order) if part.id not in answered), None)


def picture_of(folder: Path, part: StudyPart) -> Image:
    """Return a part's picture as (H, W, 3) uint8 RGB. Raises AgreementError."""
    path = folder / PICTURES / part.sha256
    try:
        content = path.read_bytes()
    except OSError as error:
        raise AgreementError(f"the picture {path} cannot be read: {error.strerror}") from error
    if hashlib.sha256(content).hexdigest() != part.sha256:
        raise AgreementError(f"the picture {path} is damaged: its bytes are not those that the study was made with")
    try:
        return decode(content, content_type=part.content_type, depth=part.depth)
    except ImageError as error:
        raise AgreementError(f"the picture {path} cannot be read: {error}") from error


def blind_png(folder: Path, part: StudyPart) -> bytes:
    """Return a part's picture as a PNG that says nothing but its pixels: no name, no date, no camera."""
    _, png = cv2.imencode(".png", cv2.cvtColor(picture_of(folder, part), cv2.COLOR_RGB2BGR))
    return png.tobytes()
