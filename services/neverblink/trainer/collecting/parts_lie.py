"""How the parts of pictures lie, shown before a fit: what alignment finds, what it makes of it, and where it fails."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, get_args

from neverblink.job_life.progress import Progress
from neverblink.reports.galleries import jpeg
from neverblink.trainer.collecting.results import LostPart, PartsLie, PlacedPart
from neverblink.trainer.collecting.settings import LookOverJob
from neverblink.trainer.datasets.found_parts import how_parts_lie, learnt_parts
from neverblink.trainer.datasets.picture_groups import below
from neverblink.trainer.datasets.usable_pictures import checked
from neverblink.vision.alignment.aligner import Aligner, AlignmentError, NotFoundError
from neverblink.vision.alignment.drawing import drawn
from neverblink.vision.alignment.drawing import upright as upright_of
from neverblink.vision.alignment.kept import keep_aligner, kept_aligner
from neverblink.vision.alignment.spec import Kind
from neverblink.vision.alignment.view import Pose
from neverblink.vision.decode import read_image
from neverblink.vision.evenly import some_of

_WORST, _EVENLY = 8, 12
"""Pictures that are shown: those that fit least, and some from all over the set."""

_MOST_LOST: Final = 200
_SHOWN: Final = 480
_UPRIGHT: Final = 320
_TO_DRAW_ON: Final = 1600
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
_ALIGNMENT: Final = "alignment.safetensors"
_SAMPLE: Final = "upright.jpg"


@dataclass(frozen=True, slots=True)
class _Found:
    path: Path
    pose: Pose


@dataclass(frozen=True, slots=True)
class _Lost:
    path: Path
    why: str


def parts_lie(
    paths: Sequence[Path], root: Path, job: LookOverJob, names: Mapping[Path, str], progress: Progress
) -> PartsLie | None:
    """Find the parts in pictures that can be used, None where that was not asked for.

    `names` are their small pictures in the gallery. It is learnt from all but those that the job leaves out, as a fit
    learns it, unless the job names an alignment.
    """
    if job.align is None or (job.align == "none" and job.alignment is None):
        return None
    learnt_from = [path for path in paths if below(path, root) not in set(job.apart)]
    spread, kinds = how_parts_lie(learnt_from, job.depth)
    said = {
        "asked": job.align,
        "called_for": spread is not None and spread.wide,
        "spread": None if spread is None else spread.sentence(),
    }
    if job.alignment is None and job.align == "auto":
        if spread is None:
            return PartsLie.model_validate({**said, "refused": "neither outlines nor marks tell how parts lie"})
        if not spread.wide:
            return PartsLie.model_validate(said)
    try:
        aligner = _aligner(learnt_from, job, (job.align,) if job.align in KINDS else kinds)
    except AlignmentError as error:
        return PartsLie.model_validate({**said, "refused": str(error)})
    looked = checked(paths, partial(_looked_for, aligner=aligner, depth=job.depth), progress, "finding parts")
    found = [one for one in looked if isinstance(one, _Found)]
    lost = [one for one in looked if isinstance(one, _Lost)]
    shown = _Shown(job, root, aligner)
    height, width = aligner.size
    more = {
        "kind": aligner.spec.kind,
        "told": aligner.spec.sentence(),
        "found": len(found),
        "lost": [
            LostPart(path=below(one.path, root), why=one.why, picture=names.get(one.path)) for one in lost[:_MOST_LOST]
        ],
        "not_found": len(lost),
        "width": width,
        "height": height,
        "examples": shown.examples(found),
        "upright": shown.to_draw_on(found),
        "alignment": shown.kept(),
    }
    return PartsLie.model_validate({**said, **more})


def _aligner(paths: Sequence[Path], job: LookOverJob, kinds: Sequence[Kind]) -> Aligner:
    """Return what finds the parts by the first of the kinds that can. Raises AlignmentError."""
    if job.alignment is not None:
        return kept_aligner(job.alignment)
    faults = []
    for kind in kinds:
        try:
            return learnt_parts(kind, paths, job.depth).aligner
        except (AlignmentError, NotFoundError) as error:
            faults.append(str(error))
    raise AlignmentError("; ".join(faults))


def _looked_for(path: Path, *, aligner: Aligner, depth: int | None) -> _Found | _Lost:
    try:
        return _Found(path, aligner.find(read_image(path, depth=depth)))
    except NotFoundError as error:
        return _Lost(path, str(error))


class _Shown:
    """What is shown of it, where a gallery was asked for."""

    def __init__(self, job: LookOverJob, root: Path, aligner: Aligner) -> None:
        self._gallery, self._depth, self._root, self._aligner = job.gallery, job.depth, root, aligner

    def examples(self, found: Sequence[_Found]) -> list[PlacedPart]:
        """Return where some parts lie: those that fit least first, then some from all over the set."""
        worst = sorted(found, key=lambda one: one.pose.fit)[:_WORST]
        rest = [one for one in found if one not in worst]
        told = []
        for number, one in enumerate([*worst, *some_of(rest, _EVENLY)]):
            lies = upright = None
            if self._gallery is not None:
                image = read_image(one.path, depth=self._depth)
                lies, upright = f"lies-{number:02}.jpg", f"upright-{number:02}.jpg"
                (self._gallery / lies).write_bytes(jpeg(drawn(image, one.pose, self._aligner)))
                (self._gallery / upright).write_bytes(jpeg(upright_of(image, one.pose, self._aligner, _UPRIGHT)))
            pose = one.pose
            told.append(
                PlacedPart(
                    path=below(one.path, self._root), x=pose.x, y=pose.y, angle=pose.angle, fit=pose.fit, lies=lies,
                    upright=upright,
                )
            )  # fmt: skip
        return told

    def to_draw_on(self, found: Sequence[_Found]) -> str | None:
        """Write the upright picture of an ordinary part, large enough to draw on, and return its name."""
        if self._gallery is None or not found:
            return None
        ordinary = sorted(found, key=lambda one: one.pose.fit)[len(found) // 2]
        image = upright_of(read_image(ordinary.path, depth=self._depth), ordinary.pose, self._aligner, _TO_DRAW_ON)
        (self._gallery / _SAMPLE).write_bytes(jpeg(image))
        return _SAMPLE

    def kept(self) -> str | None:
        """Write what was learnt, and return its name."""
        if self._gallery is None:
            return None
        keep_aligner(self._gallery / _ALIGNMENT, self._aligner)
        return _ALIGNMENT
