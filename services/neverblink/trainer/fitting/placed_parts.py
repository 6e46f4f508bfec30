"""What a fit aligned, in pictures: some parts as they lie and upright, and pictures in which none is found."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from neverblink.reports.galleries import small
from neverblink.trainer.datasets.found_parts import Unfound
from neverblink.vision.alignment.aligner import Aligner, NotFoundError
from neverblink.vision.alignment.drawing import drawn, upright
from neverblink.vision.decode import Image, read_image
from neverblink.vision.evenly import some_of

_FOUND: Final = 6
_LOST: Final = 6
_SIDE: Final = 320


@dataclass(frozen=True, slots=True)
class ShownPart:
    """A picture with its part's outline and frame, and the part upright, by how well it fits; or why there is none."""

    path: Path
    lies: Image
    upright: Image | None = None
    fit: float | None = None
    why: str | None = None


def shown_parts(
    aligner: Aligner | None, good: Sequence[Path], unfound: Sequence[Unfound], depth: int | None
) -> tuple[ShownPart, ...]:
    """Return some parts from all over the pictures, then some in which none is found; () where none is looked for."""
    if aligner is None:
        return ()
    lost = {one.path for one in unfound}
    kept = [path for path in good if path not in lost]
    found = []
    for path in some_of(kept, _FOUND):
        image = read_image(path, depth=depth)
        try:
            pose = aligner.find(image)
        except NotFoundError:
            continue  # a picture that was left out for another reason
        lies = drawn(image, pose, aligner)
        found.append(ShownPart(path, small(lies), upright(image, pose, aligner, _SIDE), pose.fit))
    return (
        *found,
        *(ShownPart(one.path, small(read_image(one.path, depth=depth)), why=one.why) for one in unfound[:_LOST]),
    )
