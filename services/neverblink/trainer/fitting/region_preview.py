"""The picture on which named regions are drawn: a part upright where parts are aligned, else as the camera saw it."""

from pathlib import Path
from typing import Literal, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from neverblink.storage.whole_file import write_whole
from neverblink.trainer.datasets.found_parts import learnt_parts
from neverblink.trainer.datasets.images import DatasetError, good_images
from neverblink.vision.alignment.aligner import Aligner, AlignmentError, NotFoundError
from neverblink.vision.alignment.spec import Kind
from neverblink.vision.artifact import load_artifact
from neverblink.vision.decode import read_image
from neverblink.vision.inspector import aligner_of
from neverblink.vision.named_regions.drawing import drawn
from neverblink.vision.named_regions.spec import RegionsFile, RegionsSpec, check_size

Image = npt.NDArray[np.uint8]


_KINDS = (".png", ".jpg")
_JPEG = (cv2.IMWRITE_JPEG_QUALITY, 88)


class Preview(NamedTuple):
    """The picture's (width, height), which is what a regions file states, and the picture that it was made from."""

    width: int
    height: int
    source: Path


def preview(
    pictures: Path,
    out: Path,
    *,
    regions: RegionsFile | None = None,
    artifact: Path | None = None,
    align: Literal["none", "silhouette", "template"] = "none",
    depth: int | None = None,
) -> Preview:
    """Write a picture with a frame of coordinates and what regions there are: those given, else the artifact's.

    `pictures` is a folder of good parts or one picture. Parts are found as the artifact finds them, else, with
    `align`, as a fit to these pictures would. Raises VisionError.
    """
    paths = [pictures] if pictures.is_file() else good_images(pictures)
    aligner: Aligner | None = None
    shown: RegionsFile | RegionsSpec | None = regions
    if artifact is not None:
        model = load_artifact(artifact)
        aligner, shown, depth = aligner_of(model), regions or model.manifest.named_regions, model.manifest.depth
    elif align != "none":
        aligner = _learnt(paths, align, depth)
    source, picture = _picture(paths, aligner, depth)
    height, width = picture.shape[:2]
    if shown is not None:
        check_size((shown.width, shown.height), (width, height))
    lines = drawn(picture, shown)
    if out.suffix.lower() not in _KINDS:
        raise DatasetError(f"{out} is no picture: name a file that ends in {' or '.join(_KINDS)}")
    _, body = cv2.imencode(out.suffix.lower(), cv2.cvtColor(lines, cv2.COLOR_RGB2BGR), _JPEG)
    try:
        write_whole(out, body.tobytes())
    except OSError as error:
        raise DatasetError(f"{out} cannot be written: {error.strerror}") from error
    return Preview(width, height, source)


def _learnt(paths: list[Path], kind: Kind, depth: int | None) -> Aligner:
    try:
        return learnt_parts(kind, paths, depth).aligner
    except AlignmentError as error:
        raise DatasetError(f"the parts cannot be aligned: {error}") from error


def _picture(paths: list[Path], aligner: Aligner | None, depth: int | None) -> tuple[Path, Image]:
    """Return the first picture in which a part is found, upright in the camera's pixels."""
    why = ""
    for path in paths:
        image = read_image(path, depth=depth)
        if aligner is None:
            return path, image
        try:
            return path, aligner.view(image).sampled(*aligner.size)
        except NotFoundError as error:
            why = why or f"; {path}: {error}"
    raise DatasetError(f"in none of {len(paths)} pictures a part is found{why}")
