"""A new study: parts drawn, their pictures copied under blind names, the plan written last."""

import hashlib
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from neverblink.agreement.choosing import Candidate, Draw, Wanted
from neverblink.agreement.sources import PictureLostError, Source
from neverblink.agreement.study import (
    PICTURES,
    STUDY_FILE,
    AgreementError,
    Answer,
    PartReference,
    References,
    Study,
    StudyPart,
    Terms,
    write_study,
)
from neverblink.job_life.progress import Progress
from neverblink.storage.whole_file import write_whole
from neverblink.vision.decode import ImageError, decode

_ANSWERS: tuple[Answer, ...] = ("good", "defective")


@dataclass(frozen=True, slots=True)
class Made:
    """What a study has become: parts by what they are, how many are near the threshold, and pictures that were lost."""

    study: Study
    good: int
    defective: int
    near: int
    types: dict[str, int]
    lost: int


class _Taken:
    """Pictures that were taken for a study, each once."""

    def __init__(self, source: Source, folder: Path) -> None:
        self._source, self._folder = source, folder
        self.parts: list[tuple[Candidate, str]] = []
        self._items: set[str] = set()
        self._digests: set[str] = set()
        self.lost = 0

    def take(self, candidate: Candidate) -> bool:
        """Copy a candidate's picture; False for one that is there already, is lost or is no picture."""
        if candidate.item in self._items:
            return False
        try:
            content = self._source.read(candidate)
            decode(content, content_type=candidate.content_type, depth=candidate.depth)
        except (PictureLostError, ImageError):
            self.lost += 1
            return False
        digest = hashlib.sha256(content).hexdigest()
        if digest in self._digests:
            return False
        write_whole(self._folder / PICTURES / digest, content)
        self._items.add(candidate.item)
        self._digests.add(digest)
        self.parts.append((candidate, digest))
        return True


def make_study(
    folder: Path,
    source: Source,
    terms: Terms,
    wanted: Wanted,
    now: datetime,
    progress: Progress = lambda *_: None,
) -> Made:
    """Draw parts from a source and write a study to `folder`, which must be new or empty.

    Raises AgreementError when there are too few parts, UnwritableError.
    """
    _refuse_what_is_there(folder)
    try:
        return _make(folder, source, terms, wanted, now, progress)
    except BaseException:
        shutil.rmtree(folder / PICTURES, ignore_errors=True)
        raise


def _make(folder: Path, source: Source, terms: Terms, wanted: Wanted, now: datetime, progress: Progress) -> Made:
    draw = Draw(source.candidates, wanted, terms.seed)
    taken = _Taken(source, folder)
    for answer in _ANSWERS:
        _take(taken, draw, answer, wanted, source, progress)
    order = draw.shuffled([candidate for candidate, _ in taken.parts])
    digests = {candidate.item: digest for candidate, digest in taken.parts}
    parts = tuple(
        StudyPart(id=f"p{number:03}", sha256=digests[one.item], content_type=one.content_type, depth=one.depth)
        for number, one in enumerate(order)
    )
    study = Study(**terms.model_dump(), made=now, parts=parts)
    known = {part.id: one.reference for part, one in zip(parts, order, strict=True)}
    scored = any(one.reference.ratio is not None for one in source.candidates)
    near = f"; parts near the threshold first, up to {wanted.near:.0%}" if scored else ""
    chosen = (
        f"drawn by seed {terms.seed} from {len(source.candidates)} parts of {source.said}: {wanted.parts} parts,"
        f" {wanted.of('defective')} of them defective; types of defects took turns{near}"
    )
    write_study(folder, study, References(product=source.product, chosen=chosen, parts=known))
    return _made(study, list(known.values()), taken.lost)


def _take(taken: _Taken, draw: Draw, answer: Answer, wanted: Wanted, source: Source, progress: Progress) -> None:
    need = wanted.of(answer)
    had = len(taken.parts)
    for candidate in draw.of(answer):
        if len(taken.parts) - had == need:
            break
        if taken.take(candidate):
            progress("taking pictures", len(taken.parts), wanted.parts)
    found = len(taken.parts) - had
    if found < need:
        lost = f" ({taken.lost} more pictures are lost or cannot be read)" if taken.lost else ""
        raise AgreementError(
            f"{need} {answer} parts are wanted and {source.said} has {found} with a picture{lost}: ask for fewer"
            " --parts, another share of --defective, or take them from a longer time"
        )


def _made(study: Study, references: Sequence[PartReference], lost: int) -> Made:
    defective = [one for one in references if one.answer == "defective"]
    return Made(
        study,
        good=len(references) - len(defective),
        defective=len(defective),
        near=sum(one.near for one in references),
        types=dict(sorted(Counter(one.defect_type or "not named" for one in defective).items())),
        lost=lost,
    )


def _refuse_what_is_there(folder: Path) -> None:
    try:
        if (folder / STUDY_FILE).exists():
            raise AgreementError(f"{folder} holds a study already: name another folder with --out")
        if folder.exists() and any(folder.iterdir()):
            raise AgreementError(f"{folder} is no empty folder: name a new one with --out")
    except OSError as error:
        raise AgreementError(f"{folder} cannot be used: {error.strerror}") from error
