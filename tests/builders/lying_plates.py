"""Plates that lie anyhow and bear a plug, a label and a face: where each place is, upright and as it lies."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import yaml
from lying_parts import HEIGHT, WIDTH, Lying, looks, lying

from neverblink.vision.alignment.aligner import Aligner

Image = npt.NDArray[np.uint8]
Corners = npt.NDArray[np.float64]

PLACES = {"plug": (78, 12, 32, 28), "label": (10, 46, 30, 28), "face": (50, 46, 60, 30)}
"""Left, top, width and height of each place on the plate."""

_MIDDLE = np.array([WIDTH / 2, HEIGHT / 2])


def plate(seed: int, *, plug: str = "present", spoilt: str | None = None) -> Image:
    """Return a plate upright, (84, 120, 3) uint8 RGB; one place may be `spoilt` by a bright blot."""
    pixels = looks(seed)
    left, top, width, height = PLACES["plug"]
    if plug != "absent":
        cv2.rectangle(pixels, (left + 4, top + 4), (left + width - 5, top + height - 5), (50, 60, 150), -1)
        at = left + (width - 13 if plug == "turned" else 8)
        cv2.rectangle(pixels, (at, top + 7), (at + 4, top + height - 8), (230, 220, 60), -1)
    left, top, width, height = PLACES["label"]
    cv2.rectangle(pixels, (left + 3, top + 3), (left + width - 4, top + height - 4), (235, 235, 235), -1)
    if spoilt is not None:
        left, top, width, height = PLACES[spoilt]
        cv2.circle(pixels, (left + width // 2, top + height // 2), 6, (250, 60, 40), -1)
    return pixels


def lying_plate(seed: int, *, plug: str = "present", spoilt: str | None = None, **more: Any) -> Lying:
    """Return a picture of a plate, turned and moved at random on a belt under uneven light, and where it lies."""
    return lying(seed, part=plate(seed, plug=plug, spoilt=spoilt), **more)


def corners_of(place: str, part: Lying) -> Corners:
    """Return the (4, 2) corners (x, y) of a place of the plate in its picture, by truth."""
    left, top, width, height = PLACES[place]
    own = np.array([[left, top], [left + width, top], [left + width, top + height], [left, top + height]]) - _MIDDLE
    cosine, sine = np.cos(np.radians(part.angle)), np.sin(np.radians(part.angle))
    return np.asarray(own @ np.array([[cosine, sine], [-sine, cosine]]) + np.array([part.x, part.y]))


def box_of(corners: Corners) -> Corners:
    """Return (left, top, right, bottom) around corners."""
    return np.concatenate([corners.min(axis=0), corners.max(axis=0)])


def regions_file(aligner: Aligner, *seen: Lying, states: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return named regions as a person draws them over the upright picture, by where the places of some plates are.

    `states` are the folders of the plug's examples.
    """
    regions: list[dict[str, Any]] = []
    for place, kind in (("plug", "presence"), ("label", "ignored"), ("face", "judged")):
        upright = []
        for part in seen:
            inverse = cv2.invertAffineTransform(aligner.view(part.picture).matrix)
            upright.append(corners_of(place, part) @ inverse[:, :2].T + inverse[:, 2])
        polygon = np.median(upright, axis=0).round(1).tolist()
        regions.append({"name": place, "kind": kind, "polygon": polygon})
    regions[0]["examples"] = dict(states or {})
    height, width = aligner.size
    return {"width": width, "height": height, "regions": regions}


def write_plates(folder: Path, seeds: range, **looks_like: Any) -> list[Path]:
    """Write pictures of plates as PNG files."""
    folder.mkdir(parents=True)
    paths = [folder / f"{seed:04}.png" for seed in seeds]
    for seed, path in zip(seeds, paths, strict=True):
        cv2.imwrite(str(path), lying_plate(seed, **looks_like).picture[..., ::-1])
    return paths


def write_regions(path: Path, values: Mapping[str, Any]) -> Path:
    """Write a regions file."""
    path.write_text(yaml.safe_dump(dict(values)))
    return path
