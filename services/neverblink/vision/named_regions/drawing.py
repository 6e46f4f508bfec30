"""The picture on which a person draws named regions: polygons, their names, and a grid of coordinates."""

from collections.abc import Iterable
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from neverblink.vision.named_regions.spec import Kind, RegionsFile, RegionsSpec

Image = npt.NDArray[np.uint8]

COLOURS: dict[Kind, tuple[int, int, int]] = {
    "judged": (0, 114, 178),
    "ignored": (150, 150, 150),
    "presence": (213, 94, 0),
}
"""RGB, told apart by people who see colours differently too."""

_LEAST_SIDE = 900
_MARGIN = 34
_STEPS = (5, 10, 20, 25, 50, 100, 200, 250, 500, 1000, 2500, 5000)
_LINES = 12


def drawn(picture: Image, regions: RegionsFile | RegionsSpec | None = None, *, grid: bool = True) -> Image:
    """Return an (H, W, 3) uint8 RGB picture, enlarged where it is small, with regions and a frame of coordinates.

    Coordinates are pixels of the picture as it was given, which is what polygons are written in.
    """
    height, width = picture.shape[:2]
    scale = max(1, -(-_LEAST_SIDE // max(height, width)))
    shown = _pixels(cv2.resize(picture, (width * scale, height * scale), interpolation=cv2.INTER_NEAREST))
    if grid:
        shown = _with_lines(shown, width, height, scale)
    if regions is not None:
        across, down = width * scale / regions.width, height * scale / regions.height
        for region in regions.regions:
            corners = np.array(region.polygon, dtype=np.float64).reshape(-1, 2) * (across, down)
            _draw(shown, corners, region.name, region.kind)
    return _framed(shown, width, height, scale) if grid else shown


def _draw(shown: Image, corners: npt.NDArray[np.float64], name: str, kind: Kind) -> None:
    if not len(corners):
        return
    colour = COLOURS[kind]
    fixed = np.rint(corners).astype(np.int32)
    tinted = shown.copy()
    cv2.fillPoly(tinted, [fixed], colour)
    cv2.addWeighted(tinted, 0.25, shown, 0.75, 0, dst=shown)
    cv2.polylines(shown, [fixed], isClosed=True, color=colour, thickness=2, lineType=cv2.LINE_AA)
    left, top = int(fixed[:, 0].min()), int(fixed[:, 1].min())
    _text(shown, name, (left + 3, top + 14), (255, 255, 255))


def _with_lines(shown: Image, width: int, height: int, scale: int) -> Image:
    lined = shown.copy()
    for x in _places(width):
        cv2.line(lined, (x * scale, 0), (x * scale, height * scale), (255, 255, 255), 1)
    for y in _places(height):
        cv2.line(lined, (0, y * scale), (width * scale, y * scale), (255, 255, 255), 1)
    return _pixels(cv2.addWeighted(lined, 0.3, shown, 0.7, 0))


def _framed(shown: Image, width: int, height: int, scale: int) -> Image:
    framed = _pixels(cv2.copyMakeBorder(shown, _MARGIN, 0, _MARGIN, 0, cv2.BORDER_CONSTANT, value=(255, 255, 255)))
    for x in _places(width):
        _text(framed, str(x), (_MARGIN + x * scale - 10, _MARGIN - 10), (0, 0, 0), outline=False)
    for y in _places(height):
        _text(framed, str(y), (2, _MARGIN + y * scale + 4), (0, 0, 0), outline=False)
    return framed


def _places(length: int) -> Iterable[int]:
    step = next((step for step in _STEPS if length / step <= _LINES), _STEPS[-1])
    return range(0, length, step)


def _text(
    image: Image,
    words: str,
    place: tuple[int, int],
    colour: tuple[int, int, int],
    *,
    outline: bool = True,
) -> None:
    if outline:
        cv2.putText(image, words, place, cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 0, 0), 3, cv2.LINE_AA)
    cv2.putText(image, words, place, cv2.FONT_HERSHEY_SIMPLEX, 0.5, colour, 1, cv2.LINE_AA)


def _pixels(image: npt.NDArray[Any]) -> Image:
    return np.asarray(image, dtype=np.uint8)
