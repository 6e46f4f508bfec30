"""Which images a U-Net learns from and which try it; what cannot teach is counted."""

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson

from neverblink.trainer.datasets.defect_images import DefectImage, split, types_of
from neverblink.trainer.datasets.images import DatasetError
from neverblink.trainer.datasets.sample_store import SampleStore
from neverblink.trainer.teaching.synthesize import RECORD


@dataclass(frozen=True, slots=True)
class Division:
    """Images with defects and good ones, to learn from and held out; an image is in one part only.

    Synthetic defects are held out only for types that no real image shows. `not_validated` are the types of which
    nothing could be held out. `without_mask` and `empty_masks` count images that teach nothing.
    """

    types: tuple[str, ...]
    defective: tuple[DefectImage, ...]
    good: tuple[DefectImage, ...]
    held_out: tuple[DefectImage, ...]
    held_out_good: tuple[DefectImage, ...]
    not_validated: tuple[str, ...]
    without_mask: int
    empty_masks: int

    @property
    def learnt_from(self) -> tuple[Path, ...]:
        """Return the files that the network sees."""
        return tuple(image.path for image in (*self.defective, *self.good))


def divide(
    images: Sequence[DefectImage],
    good: Sequence[Path],
    store: SampleStore,
    *,
    held_out: float,
    seed: int,
    progress: Callable[[int, int], None] = lambda *_: None,
) -> Division:
    """Read every image and mask once, so that a damaged one is told before hours of work, and divide them.

    Raises VisionError: a file that is no image, a mask of another size, no image with a mask, none to hold out.
    """
    clean = _good(images, good)
    labelled = [image for image in images if image.defective and image.marked]
    usable: list[DefectImage] = []
    for done, image in enumerate((*labelled, *clean), start=1):
        marked = any(sample.masks for sample in store.samples(image))
        if marked:
            usable.append(image)
        progress(done, len(labelled) + len(clean))
    without_mask = sum(image.defective for image in images) - len(labelled)
    if not usable:
        raise DatasetError(
            f"none of {len(images)} images has a mask with a defect in it ({without_mask} have no mask,"
            f" {len(labelled)} an empty one); test/TYPE/NAME.png has the mask ground_truth/TYPE/NAME_mask.png"
        )
    defective, tried = _divided(usable, held_out, seed)
    if not tried:
        raise DatasetError(
            f"no image can be held out to try the U-Net on: of {len(usable)} images with a mask no type has enough;"
            f" to hold out {held_out:.0%} takes {_enough(held_out)} images of a type"
        )
    learnt_good, tried_good = _divided_good(clean, images, held_out, seed)
    return Division(
        types=types_of(usable),
        defective=tuple(defective),
        good=tuple(learnt_good),
        held_out=tuple(tried),
        held_out_good=tuple(tried_good),
        not_validated=tuple(sorted(set(types_of(usable)) - set(types_of(tried)))),
        without_mask=without_mask,
        empty_masks=len(labelled) - len(usable),
    )


def is_synthetic(image: DefectImage) -> bool:
    """Say whether an image is from a folder that `neverblink synthesize` wrote."""
    return _record_of(image.path).is_file()


def _divided(usable: Sequence[DefectImage], held_out: float, seed: int) -> tuple[list[DefectImage], list[DefectImage]]:
    drawn = {image.path for image in usable if is_synthetic(image)}
    real = types_of(image for image in usable if image.path not in drawn)
    # Figures on drawn defects say little about real ones: where there are real ones, they alone are held out.
    divisible = [image for image in usable if image.path not in drawn or not set(image.types) & set(real)]
    defective, tried = split(divisible, 1 - held_out, seed)
    kept = {image.path for image in divisible}
    return defective + [image for image in usable if image.path not in kept], tried


def _good(images: Sequence[DefectImage], good: Sequence[Path]) -> list[DefectImage]:
    """Return the good images, each once; a synthetic folder's are copies, which count where there are no others."""
    own = [image for image in images if not image.defective]
    real = [image.path for image in own if not is_synthetic(image)]
    paths = dict.fromkeys([*good, *real]) or dict.fromkeys(image.path for image in own)
    return [DefectImage(path, ()) for path in paths]


def _divided_good(
    clean: Sequence[DefectImage], images: Sequence[DefectImage], held_out: float, seed: int
) -> tuple[list[DefectImage], list[DefectImage]]:
    if len(clean) < 2:
        return list(clean), []
    order = sorted(clean, key=lambda image: image.path)
    random.Random(f"{seed} good").shuffle(order)
    # A part that defects were drawn on is known to the network: it would look quieter than a fresh one.
    sources = _sources(images)
    order.sort(key=lambda image: image.path.name in sources)
    count = max(1, round(held_out * len(order)))
    return order[count:], order[:count]


def _sources(images: Iterable[DefectImage]) -> set[str]:
    """Return the names of the images that synthetic defects were drawn on."""
    found: set[str] = set()
    for record in {_record_of(image.path) for image in images}:
        if not record.is_file():
            continue
        try:
            found.update(str(defect["source"]) for defect in orjson.loads(record.read_bytes())["defects"])
        except (OSError, orjson.JSONDecodeError, KeyError, TypeError) as error:
            raise DatasetError(f"{record} is not what `neverblink synthesize` writes: {error}") from error
    return found


def _record_of(path: Path) -> Path:
    """Return where the record of a synthetic folder would lie: FOLDER/test/TYPE/NAME.png has FOLDER/synthesis.json."""
    return path.parent.parent.parent / RECORD


def _enough(held_out: float) -> int:
    """Return how many images of a type it takes until `split` holds one out."""
    return next(count for count in range(2, 1000) if max(1, round((1 - held_out) * count)) < count)
