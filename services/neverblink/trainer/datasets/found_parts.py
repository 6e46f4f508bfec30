"""Where parts lie in pictures, as it is learnt from good ones; those in which none is found, jobs leave out."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

from neverblink.job_life.progress import Progress
from neverblink.trainer.datasets.images import DatasetError
from neverblink.vision.alignment.aligner import Aligner, NotFoundError
from neverblink.vision.alignment.learning import MOST_PICTURES, Learnt
from neverblink.vision.alignment.learning_marks import learn
from neverblink.vision.alignment.spec import Kind
from neverblink.vision.alignment.spread import Spread, spread_of, spread_of_marks
from neverblink.vision.alignment.view import Pose
from neverblink.vision.decode import Image, read_image
from neverblink.vision.evenly import some_of

_One = TypeVar("_One")

_NAMED = 3

_LOOKED_AT = 8
"""Pictures that say how differently parts lie: a twentieth of a second in every fit."""

_TURNS = 3
"""So often others are looked at where one of them shows no part: it may be alone in that."""


class Unfound(NamedTuple):
    """A picture without a part, and what was seen instead."""

    path: Path
    why: str


def how_parts_lie(paths: Sequence[Path], depth: int | None) -> tuple[Spread | None, tuple[Kind, ...]]:
    """Return how differently parts lie, by what a few pictures show, and by what kinds of alignment they may be found.

    None and no kind where neither outlines nor marks say it. Raises ImageError.
    """
    try:
        for turn in range(_TURNS):
            found = spread_of(_read(some_of(paths[turn : len(paths) - turn], _LOOKED_AT), depth))
            if found is not None:
                return found, ("silhouette", "template")
        by_marks = spread_of_marks(_read(some_of(paths, _LOOKED_AT), depth))
    except NotFoundError:
        return None, ()  # pictures that are too large to be searched
    return by_marks, () if by_marks is None else ("template",)


def learnt_parts(kind: Kind, paths: Sequence[Path], depth: int | None) -> Learnt:
    """Learn from good pictures, some from all over them, how their parts are found. Raises AlignmentError."""
    return learn(kind, _read(some_of(paths, MOST_PICTURES), depth))


def with_parts(
    images: Sequence[_One],
    path_of: Callable[[_One], Path],
    aligner: Aligner | None,
    *,
    depth: int | None = None,
    progress: Progress = lambda *_: None,
    poses: dict[Path, Pose] | None = None,
) -> tuple[list[_One], list[Unfound]]:
    """Return the images in which the part is found, and the others. Raises ImageError; DatasetError where none is left.

    Without an `aligner` nothing is read. Where parts lie is written to `poses`.
    """
    if aligner is None:
        return list(images), []
    kept: list[_One] = []
    lost: list[Unfound] = []
    for done, one in enumerate(images, start=1):
        path = path_of(one)
        try:
            pose = aligner.find(read_image(path, depth=depth))
        except NotFoundError as error:
            lost.append(Unfound(path, str(error)))
        else:
            kept.append(one)
            if poses is not None:
                poses[path] = pose
        progress("finding parts", done, len(images))
    if images and not kept:
        raise DatasetError(f"in none of {len(images)} pictures a part is found; {lost[0].path}: {lost[0].why}")
    return kept, lost


def unfound_note(lost: Sequence[Unfound], total: int) -> list[str]:
    """Return in a sentence what was left out, [] where nothing was."""
    if not lost:
        return []
    named = "; ".join(f"{one.path.name}: {one.why}" for one in lost[:_NAMED])
    more = "" if len(lost) <= _NAMED else f"; and {len(lost) - _NAMED} more"
    said = f"in {len(lost)} of {total} pictures no part is found, and they are left out"
    return [f"{said}: a line leaves such parts unscored (not-found), which is never a pass. {named}{more}"]


def _read(paths: Sequence[Path], depth: int | None) -> Iterator[Image]:
    return (read_image(path, depth=depth) for path in paths)
