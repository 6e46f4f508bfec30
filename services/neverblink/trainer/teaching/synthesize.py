"""A data set of synthetic defects in MVTec layout, from pictures of good parts."""

import difflib
import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import orjson

from neverblink.job_life.progress import Progress
from neverblink.job_life.yaml_file import read_policy_file
from neverblink.trainer.datasets.images import GOOD
from neverblink.vision.alignment.foreground import foreground
from neverblink.vision.decode import Image, read_image
from neverblink.vision.errors import VisionError
from neverblink.vision.region import Mask
from neverblink.vision.region_of_interest import RegionOfInterest
from neverblink.vision.synthesis import KINDS, TAXONOMY, Kind, Policy, Scene, SynthesisError, Synthetic, synthesise

SHEET = "contact-sheet.png"
RECORD = "synthesis.json"

_FOREIGN = 16
"""Images that foreign objects are cut from; more are not read, as they are kept in memory."""

_EXAMPLES = 4
_TILE = 160
_NAME = 24
_OUTLINE = (255, 60, 60)


class SynthesizeError(VisionError):
    """A data set that cannot be written as asked; the message says why."""


@dataclass(frozen=True, slots=True)
class SynthesizeSettings:
    """What is drawn: kinds, how many images of each, and what is known of the scene.

    `scale` is in mm per pixel, for a policy in mm; `light` comes from so many degrees; `foreign` are images that
    foreign objects are cut from; `depth` are the bits that values of 16-bit pictures use. What is written has eight.
    """

    kinds: tuple[Kind, ...] = KINDS
    per_kind: int = 20
    seed: int = 0
    region: RegionOfInterest | Mask | None = None
    scale: float | None = None
    light: float = 135.0
    policy: Policy = field(default_factory=Policy)
    foreign: Sequence[Path] = ()
    depth: int | None = None

    def __post_init__(self) -> None:
        """Refuse a scale that is none, or that no length needs. Raises SynthesizeError."""
        if self.scale is None:
            return
        if not (math.isfinite(self.scale) and self.scale > 0):
            raise SynthesizeError(f"--scale is more than 0 mm per pixel, not {self.scale}")
        if self.policy.unit != "mm":
            raise SynthesizeError(
                f"--scale is for lengths in mm and the policy's are in {self.policy.unit}: write `unit: mm` into it"
            )


@dataclass(frozen=True, slots=True)
class Written:
    """How many images went into the data set, and its contact sheet."""

    defective: int
    good: int
    sheet: Path


def kinds_named(words: Sequence[str]) -> tuple[Kind, ...]:
    """Return the kinds that words name, each once. Raises SynthesizeError."""
    return tuple(dict.fromkeys(map(_kind, words)))


def read_policy(path: Path) -> Policy:
    """Read a YAML policy; what it leaves out has its default. Raises SynthesizeError in one sentence."""
    return read_policy_file(path, Policy, "kinds of defects and their ranges", SynthesizeError)


def synthesize(
    images: Sequence[Path], out: Path, settings: SynthesizeSettings, progress: Progress = lambda *_: None
) -> Written:
    """Draw `per_kind` defects of each kind on the images and write them to `out`, which must be new or empty.

    Images that no defect was drawn on go to `test/good`, or all where none is left, at most as many as there are
    defects. The same images, settings and seed give the same bytes. Raises VisionError.
    """
    _check_empty(out)
    try:
        return _write_all(images, out, settings, progress)
    except VisionError:
        # Half a data set looks like a whole one, and would be in the way of the next try.
        shutil.rmtree(out, ignore_errors=True)
        raise


def _write_all(images: Sequence[Path], out: Path, settings: SynthesizeSettings, progress: Progress) -> Written:
    order = np.random.default_rng(settings.seed).permutation(len(images))
    total = settings.per_kind * len(settings.kinds)
    foreign = tuple(read_image(path, depth=settings.depth) for path in settings.foreign[:_FOREIGN])
    record: list[dict[str, str]] = []
    rows: list[Image] = []
    for kind in settings.kinds:
        examples: list[Synthetic] = []
        for number in range(settings.per_kind):
            source = images[order[len(record) % len(order)]]
            # Each image has its own stream: other kinds or more images do not change what a number looks like.
            random = np.random.default_rng([settings.seed, KINDS.index(kind), number])
            drawn = _drawn(source, kind, random, settings, foreign)
            _write(out / "test" / kind / f"{number:03}.png", drawn.image)
            _write(out / "ground_truth" / kind / f"{number:03}_mask.png", drawn.mask.astype(np.uint8) * 255)
            record.append({"kind": kind, "class": TAXONOMY[kind], "image": f"{number:03}.png", "source": source.name})
            if number < _EXAMPLES:
                examples.append(drawn)
            progress("drawing defects", len(record), total)
        rows.append(_row(kind, examples))
    unused = [images[place] for place in order[total:]]
    good = sorted((unused or [images[place] for place in order])[:total])
    for number, path in enumerate(good):
        _write(out / "test" / GOOD / f"{number:03}.png", read_image(path, depth=settings.depth))
        progress("copying good images", number + 1, len(good))
    _write(out / SHEET, np.vstack(rows))
    said = {"seed": settings.seed, "light": settings.light, "scale": settings.scale, "defects": record}
    policy = settings.policy.model_dump(mode="json", by_alias=True)
    (out / RECORD).write_bytes(orjson.dumps(said | {"policy": policy}, option=orjson.OPT_INDENT_2))
    return Written(len(record), len(good), out / SHEET)


def _kind(word: str) -> Kind:
    for kind in KINDS:
        if kind == word:
            return kind
    near = difflib.get_close_matches(word, KINDS, n=1)
    hint = f"; did you mean {near[0]}?" if near else f"; the kinds are {', '.join(KINDS)}"
    raise SynthesizeError(f"there is no kind of defect {word!r}{hint}")


def _check_empty(out: Path) -> None:
    try:
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise SynthesizeError(f"{out} exists and is not an empty folder; name a new one")
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SynthesizeError(f"the folder {out} cannot be made: {error.strerror}") from error


def _drawn(
    source: Path, kind: Kind, random: np.random.Generator, settings: SynthesizeSettings, foreign: tuple[Image, ...]
) -> Synthetic:
    image = read_image(source, depth=settings.depth)
    region = settings.region
    if isinstance(region, RegionOfInterest):
        region = region.mask(*image.shape[:2])
    elif region is None:
        region = foreground(image)
    scene = Scene(region=region, light=settings.light, scale=settings.scale, foreign=foreign)
    try:
        return synthesise(image, kind, random, policy=settings.policy, scene=scene)
    except SynthesisError as error:
        raise SynthesizeError(f"{source}: {error}") from error


def _write(path: Path, image: Image) -> None:
    """Write RGB or grey pixels as a PNG. Raises SynthesizeError."""
    bgr = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(cv2.imencode(".png", bgr)[1].tobytes())
    except OSError as error:
        raise SynthesizeError(f"{path} cannot be written: {error.strerror}") from error


def _row(kind: Kind, examples: Sequence[Synthetic]) -> Image:
    """Return one row of the contact sheet: the kind's name, and each example as it is and with its mask outlined."""
    row = np.full((_NAME + _TILE, _EXAMPLES * 2 * _TILE, 3), 255, np.uint8)
    title = f"{kind} ({TAXONOMY[kind]})"
    cv2.putText(row, title, (6, _NAME - 7), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 0, 0), 1, cv2.LINE_AA)
    for number, example in enumerate(examples):
        plain, outlined = _tiles(example)
        left = number * 2 * _TILE
        row[_NAME:, left : left + _TILE] = plain
        row[_NAME:, left + _TILE : left + 2 * _TILE] = outlined
    return row


def _tiles(example: Synthetic) -> tuple[Image, Image]:
    """Return the defect and its surroundings as a square, without and with the mask's outline."""
    height, width = example.mask.shape
    x, y, wide, high = cv2.boundingRect(example.mask.astype(np.uint8))
    side = min(max(_TILE // 2, round(1.4 * max(wide, high))), height, width)
    left = min(max(0, x + wide // 2 - side // 2), width - side)
    top = min(max(0, y + high // 2 - side // 2), height - side)
    window = np.s_[top : top + side, left : left + side]
    how = cv2.INTER_AREA if side > _TILE else cv2.INTER_CUBIC
    plain = np.asarray(cv2.resize(example.image[window], (_TILE, _TILE), interpolation=how), dtype=np.uint8)
    mask = cv2.resize(example.mask[window].astype(np.uint8), (_TILE, _TILE), interpolation=cv2.INTER_NEAREST)
    outlined = plain.copy()
    outlined[(cv2.dilate(mask, np.ones((5, 5), np.uint8)) - cv2.dilate(mask, np.ones((3, 3), np.uint8))) > 0] = _OUTLINE
    return plain, outlined
