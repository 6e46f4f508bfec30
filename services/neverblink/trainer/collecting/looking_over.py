"""Pictures looked over before a fit: which cannot be used, which repeat another, which differ from all others."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from neverblink.job_life.progress import Progress
from neverblink.trainer.collecting.frames_taken import take_frames
from neverblink.trainer.collecting.parts_lie import parts_lie
from neverblink.trainer.collecting.results import (
    LabelledPicture,
    LookOverResult,
    Oddness,
    SeenPicture,
    UnusablePicture,
)
from neverblink.trainer.collecting.settings import LookOverJob
from neverblink.trainer.datasets.images import DatasetError, LabelledImage, image_folder
from neverblink.trainer.datasets.labelled_image import file_digest
from neverblink.trainer.datasets.picture_groups import below, group_pictures
from neverblink.trainer.datasets.usable_pictures import Picture, Unusable, Usable, checked, usable_image
from neverblink.vision.calibration import tightest_promise
from neverblink.vision.copies import fingerprint
from neverblink.vision.decode import Image
from neverblink.vision.overlay import at_most
from neverblink.vision.quality import ImageQuality, measure

APART = 6.0
"""Robust deviations from the median from which a picture differs from the others: by chance two of a billion do."""

_FEWEST = 20
"""Among fewer pictures nothing can be said to differ from the others."""

_LEAST = 0.01
"""Of brightness and contrast, as shares of full scale: a smaller spread is one that nobody sees."""

_LEAST_SHARP = 0.2
"""Of sharpness, on its logarithm."""

_LEAST_GREY = 2.0
"""Grey levels, root mean square over a thumbnail, that parts of one product differ by all the same."""

_DEVIATION = 1.4826
"""Of a normal law: from the median absolute deviation to the standard one."""

_MOST_LABELLED = 200
_SIDE = 240
_SAMPLE = "sample.jpg"
_SAMPLE_SIDE = 1600
_JPEG_QUALITY = 80


@dataclass(frozen=True, slots=True)
class _Seen:
    picture: Picture
    quality: ImageQuality


def look_over(job: LookOverJob, progress: Progress = lambda *_: None) -> LookOverResult:
    """Look over a folder of pictures, after taking frames into it where those are asked for.

    Raises DatasetError where there are none, or more than wanted; and what taking frames raises.
    """
    taken = None if job.station is None else take_frames(job, progress)
    found = image_folder(job.images, labelled=False, deep=job.group_by is not None)
    if len(found.good) > job.most:
        raise DatasetError(f"{job.images} has {len(found.good)} pictures, and {job.most} are the most that are wanted")
    root = job.images if job.images.is_dir() else job.images.parent
    if job.gallery is not None:
        job.gallery.mkdir(parents=True, exist_ok=True)
    numbered = list(enumerate(found.good))
    looked = checked(numbered, partial(_look, depth=job.depth, gallery=job.gallery), progress)
    seen = [one for one in looked if isinstance(one, _Seen)]
    unusable = [one for one in looked if isinstance(one, Unusable)]
    usable = Usable(tuple(one.picture for one in seen), tuple(unusable))
    names = {path: _name(number) for number, path in numbered}
    told = _told(seen, usable, root, names if job.gallery is not None else {})
    labelled = _labelled(job.images)
    witnesses, note = _witnesses(usable, root, job.group_by)
    width, height = _usual_size(seen)
    return LookOverResult(
        layout=found.layout,
        pictures=told,
        unusable=tuple(UnusablePicture(path=below(one.path, root), reason=one.reason, why=one.why) for one in unusable),
        witnesses=witnesses,
        false_reject=_promise_of(witnesses),
        defects=dict(Counter(one.defect for one in labelled if one.defect is not None)),
        width=width,
        height=height,
        sample=_sample(seen, job, (width, height)),
        labelled=_shown_defects(labelled, root, job),
        parts=parts_lie(usable.paths, root, job, names if job.gallery is not None else {}, progress),
        taken=None if taken is None else taken.pictures,
        frames=None if taken is None else taken.frames,
        unreadable=0 if taken is None else taken.unreadable,
        notes=(*found.left_out, *note),
    )


def oddities(qualities: Sequence[ImageQuality], thumbnails: npt.NDArray[np.float32]) -> list[list[Oddness]]:
    """Return how each of n pictures differs from the others; `thumbnails` (n, 1024) are their fingerprints' own.

    What is the same of all, such as a brightness that never moves, has a spread of its own size's fiftieth here: no
    picture differs by what nobody sees.
    """
    found: list[list[Oddness]] = [[] for _ in qualities]
    if len(qualities) < _FEWEST:
        return found
    light = _away(np.array([one.brightness for one in qualities]), least=_LEAST)
    contrast = _away(np.array([one.contrast for one in qualities]), least=_LEAST)
    # Blur divides sharpness, so its logarithm is what deviates.
    sharp = _away(np.log(np.array([one.sharpness for one in qualities]) + 1e-6), least=_LEAST_SHARP)
    middle = np.median(thumbnails, axis=0)
    distance = np.sqrt(((thumbnails - middle) ** 2).mean(axis=1))
    unlike = _away(distance, least=_LEAST_GREY)
    for place, own in enumerate(found):
        if light[place] <= -APART:
            own.append("darker")
        if light[place] >= APART:
            own.append("brighter")
        if contrast[place] <= -APART:
            own.append("flatter")
        if sharp[place] <= -APART:
            own.append("blurred")
        if unlike[place] >= APART:
            own.append("unlike")
    return found


def _away(values: npt.NDArray[np.floating], *, least: float) -> npt.NDArray[np.float64]:
    median = np.median(values)
    spread = max(float(np.median(np.abs(values - median))) * _DEVIATION, least)
    return np.asarray((values - median) / spread, dtype=np.float64)


def _told(seen: Sequence[_Seen], usable: Usable, root: Path, names: dict[Path, str]) -> tuple[SeenPicture, ...]:
    paths = [below(path, root) for path in usable.paths]
    copy_of: dict[int, tuple[int, bool]] = {later: (earlier, True) for later, earlier in usable.copies.near}
    copy_of |= {later: (earlier, False) for later, earlier in usable.copies.equal}
    usual = _usual_size(seen)
    thumbnails = np.stack([one.picture.fingerprint.thumbnail for one in seen]) if seen else np.empty((0, 0), np.float32)
    odd = oddities([one.quality for one in seen], thumbnails)
    found = []
    for place, one in enumerate(seen):
        height, width = one.picture.size
        own: list[Oddness] = [*odd[place], *(() if (width, height) == usual else ("size",))]
        earlier, near = copy_of.get(place, (None, False))
        found.append(
            SeenPicture(
                path=paths[place],
                picture=names.get(one.picture.path),
                odd=tuple(own),
                copy_of=None if earlier is None else paths[earlier],
                near=near,
            )
        )
    return tuple(found)


def _look(numbered: tuple[int, Path], depth: int | None, gallery: Path | None) -> _Seen | Unusable:
    number, path = numbered
    image = usable_image(path, depth)
    if isinstance(image, Unusable):
        return image
    try:
        digest = file_digest(path)
        if gallery is not None:
            (gallery / _name(number)).write_bytes(_small(image))
    except OSError as error:
        return Unusable(path, f"{path} cannot be read, or its small picture not written: {error.strerror}", "no-image")
    size = (image.shape[0], image.shape[1])
    return _Seen(Picture(path, digest, size, fingerprint(image)), measure(image))


def _small(image: Image, side: int = _SIDE) -> bytes:
    shown = cv2.cvtColor(at_most(image, side), cv2.COLOR_RGB2BGR)
    return bytes(cv2.imencode(".jpg", shown, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])[1].tobytes())


def _sample(seen: Sequence[_Seen], job: LookOverJob, usual: tuple[int, int]) -> str | None:
    """Write the middle one of the pictures of the usual size, large enough to draw on, and return its name."""
    alike = [one.picture for one in seen if (one.picture.size[1], one.picture.size[0]) == usual]
    if job.gallery is None or not alike:
        return None
    image = usable_image(alike[len(alike) // 2].path, job.depth)
    if isinstance(image, Unusable):
        return None  # it has gone since it was looked at
    (job.gallery / _SAMPLE).write_bytes(_small(image, _SAMPLE_SIDE))
    return _SAMPLE


def _name(number: int) -> str:
    return f"{number:05d}.jpg"


def _usual_size(seen: Sequence[_Seen]) -> tuple[int, int]:
    """Return (width, height) of most pictures, (0, 0) of none."""
    sizes = Counter(one.picture.size for one in seen)
    ((height, width), _), *_ = sizes.most_common(1) or [((0, 0), 0)]
    return width, height


def _witnesses(usable: Usable, root: Path, by: str | None) -> tuple[int, tuple[str, ...]]:
    """Return how many pictures count, and why a rule that groups them does not fit."""
    if by is None or not usable.pictures:
        return usable.copies.different, ()
    try:
        return group_pictures(usable.paths, root, by, usable.copies.group).count, ()
    except DatasetError as error:
        return usable.copies.different, (str(error),)


def _promise_of(witnesses: int) -> float | None:
    return tightest_promise(witnesses) if witnesses > 1 else None


def _labelled(images: Path) -> tuple[LabelledImage, ...]:
    """Return the labelled pictures; labels that cannot be read are none."""
    try:
        return image_folder(images, labelled=True).labelled
    except DatasetError:
        return ()


def _shown_defects(labelled: Sequence[LabelledImage], root: Path, job: LookOverJob) -> tuple[LabelledPicture, ...]:
    """Write small pictures of defective parts, as far as they can be read."""
    if job.gallery is None:
        return ()
    told = []
    for number, one in enumerate([one for one in labelled if one.defect is not None][:_MOST_LABELLED]):
        image = usable_image(one.path, job.depth)
        if isinstance(image, Unusable) or one.defect is None:
            continue
        name = f"defect-{number:03}.jpg"
        (job.gallery / name).write_bytes(_small(image))
        told.append(LabelledPicture(path=below(one.path, root), defect=one.defect, picture=name))
    return tuple(told)
