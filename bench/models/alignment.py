"""Parts that lie anyhow: real tiles and cookies laid on grounds of ours, turned and moved by known amounts.

`poses` counts wrong poses by truth, `marks` those of drawn boards without an outline, `tiles` and `cookies` fit with
and without alignment in several draws, `speed` times it. Each prints JSON.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
from sklearn.metrics import roc_auc_score

from bench.real_images import data_folder
from neverblink.simulation.parts import Simulation
from neverblink.trainer.datasets.images import images_in
from neverblink.trainer.fitting.fit import fit
from neverblink.trainer.fitting.settings import FitSettings
from neverblink.vision.alignment.aligner import Aligner, NotFoundError
from neverblink.vision.alignment.foreground import foreground
from neverblink.vision.alignment.learning import Learnt, learn_silhouette
from neverblink.vision.alignment.learning_marks import learn_template
from neverblink.vision.alignment.registration import apart
from neverblink.vision.artifact import load_artifact
from neverblink.vision.decode import read_image
from neverblink.vision.evenly import some_of
from neverblink.vision.inspector import Inspector, extractor_of, inspect
from neverblink.vision.preprocess import Preprocess

Image = npt.NDArray[np.uint8]
Ground = Literal["plain", "structured"]

TILE = 240, 180
"""(height, width) that every tile is brought to: as parts they are of one size."""

PICTURE = 480, 640
GROUNDS: tuple[Ground, ...] = "plain", "structured"
WRONG_DEGREES, WRONG_SHARE = 3.0, 0.02
LEARNT = 100
TRAINED, FRESH, BAD = 120, 100, 100
COPIES = 2
"""Pictures of each part that is tried, in other places and at other angles."""

BOARD = 240
FALSE_REJECTS = 0.05


class Cut(NamedTuple):
    """A part without its ground: (h, w, 3) uint8 and the (h, w) bool pixels that are it."""

    pixels: Image
    mask: npt.NDArray[np.bool_]


def tile(path: Path, *, notched: bool = False) -> Cut:
    """Return a tile; `notched` without a corner, so that its ends are told apart."""
    pixels = np.asarray(cv2.resize(read_image(path), TILE[::-1], interpolation=cv2.INTER_AREA), dtype=np.uint8)
    mask = np.ones(TILE, dtype=np.bool_)
    if notched:
        mask[: TILE[0] // 4, : TILE[1] // 5] = False
    return Cut(pixels, mask)


def cookie(path: Path) -> Cut | None:
    """Return a cookie cut out of its photograph, at a third of its size."""
    image = read_image(path)
    mask = foreground(image)
    if mask is None:
        return None
    y, x = (np.nonzero(mask.any(axis=axis))[0] for axis in (1, 0))
    window = np.s_[y[0] : y[-1] + 1, x[0] : x[-1] + 1]
    size = max(8, (x[-1] - x[0] + 1) * 2 // 3), max(8, (y[-1] - y[0] + 1) * 2 // 3)
    small = cv2.resize(image[window], size, interpolation=cv2.INTER_AREA)
    return Cut(np.asarray(small, dtype=np.uint8), cv2.resize(mask[window].astype(np.uint8), size) > 0)


def laid(
    cut: Cut, ground: Ground | Image, random: np.random.Generator, *, turned: bool, scale: float = 1.0
) -> tuple[Image, ...]:
    """Return a picture in which the part lies, and (x, y, degrees) of it."""
    height, width = round(PICTURE[0] * scale), round(PICTURE[1] * scale)
    angle = random.uniform(0, 360) if turned else 0.0
    x, y = width / 2, height / 2
    if turned:
        x, y = x + random.uniform(-0.15, 0.15) * width, y + random.uniform(-0.1, 0.1) * height
    cosine, sine = scale * np.cos(np.radians(angle)), scale * np.sin(np.radians(angle))
    turn = np.array([[cosine, -sine], [sine, cosine]])
    high, wide = cut.mask.shape
    matrix = np.column_stack([turn, np.array([x, y]) - 0.5 - turn @ np.array([(wide - 1) / 2, (high - 1) / 2])])
    covered = cv2.warpAffine(cut.mask.astype(np.float32), matrix, (width, height))[..., None]
    drawn = cv2.warpAffine(cut.pixels.astype(np.float32), matrix, (width, height), borderMode=cv2.BORDER_REPLICATE)
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32) / scale
    belt = np.array([70.0, 105.0, 80.0], dtype=np.float32) * np.ones((height, width, 1), dtype=np.float32)
    if not isinstance(ground, str):
        belt = cv2.resize(ground, (width, height)).astype(np.float32)
    elif ground == "structured":
        begin = random.uniform(0, 10)
        weave = 0.12 * np.sin((columns + begin) / 2.5) * np.sin((rows + begin) / 2.5)
        belt *= (1 + weave + 0.08 * np.sin((0.9 * columns + 0.3 * rows + begin) / 17))[..., None]
    belt += random.normal(0, 3, belt.shape).astype(np.float32)
    light = random.uniform(0, 2 * np.pi)
    across, down = columns / PICTURE[1] - 0.5, rows / PICTURE[0] - 0.5
    lit = 1 + 0.5 * (np.cos(light) * across + np.sin(light) * down) - 0.17 * (across**2 + down**2)
    picture = (belt * (1 - covered) + drawn * covered) * lit[..., None]
    return np.clip(picture, 0, 255).astype(np.uint8), np.array([x, y, angle])


def poses(data: Path, count: int) -> dict[str, Any]:
    """Count parts that are not found, and those whose pose is not the truth, of tiles with a notch and without."""
    good = images_in(data / "magnetic-tile/train/good")
    found: dict[str, Any] = {}
    each = count // 4
    for notched in (True, False):
        for ground in GROUNDS:
            random = np.random.default_rng(0)
            aligner = learn_silhouette(
                laid(tile(path, notched=notched), ground, random, turned=True)[0] for path in good[:LEARNT]
            ).aligner
            fresh = good[LEARNT:]
            cuts = (tile(fresh[number % len(fresh)], notched=notched) for number in range(each))
            found[f"{'notched' if notched else 'plain'} tiles, {ground} ground"] = _posed(
                cuts, aligner, ground, random, max(TILE)
            )
            print(json.dumps(found), flush=True)
    return found


def _posed(
    cuts: Iterable[Cut],
    aligner: Aligner,
    ground: Ground | Callable[[], Image],
    random: np.random.Generator,
    size: float,
) -> dict[str, Any]:
    """Return what is found of parts; `size` is their length."""
    seen, lost = [], 0
    for cut in cuts:
        picture, (x, y, angle) = laid(cut, ground() if callable(ground) else ground, random, turned=True)
        try:
            pose = aligner.find(picture)
        except NotFoundError:
            lost += 1
            continue
        radians = np.radians(angle)
        across, down = pose.x - x, pose.y - y
        # Along the part's own axes, and twice the same for a part that looks alike from both ends.
        own = across * np.cos(radians) + down * np.sin(radians), down * np.cos(radians) - across * np.sin(radians)
        seen.append((pose.angle - angle, *own))
    table = np.array(seen)
    turns = max(1, aligner.spec.turns)
    usual = np.degrees(np.angle(np.exp(1j * turns * np.radians(table[:, 0])).mean())) / turns
    period = 360 / turns
    away = np.abs((table[:, 0] - usual + period / 2) % period - period / 2)
    half = np.array([apart(one, usual) > 90 for one in table[:, 0]])
    places = np.where(half[:, None] & (turns == 2), -table[:, 1:], table[:, 1:])
    off = np.linalg.norm(places - np.median(places, axis=0), axis=1) / size
    return {
        "parts": len(seen) + lost,
        "turns": aligner.spec.turns,
        "not found": lost,
        "wrong": int(((away > WRONG_DEGREES) | (off > WRONG_SHARE)).sum()),
        "degrees, median and most": [round(float(np.median(away)), 3), round(float(away.max()), 2)],
        "off, share of length, median and most": [round(float(np.median(off)), 4), round(float(off.max()), 4)],
    }


def board(number: int, *, mirrored: bool = False) -> Cut:
    """Return a drawn circuit board, all of it."""
    pixels = Simulation("pcb", seed=5).good(number).image
    small = cv2.resize(pixels[16:-16, 16:-16], (BOARD, BOARD), interpolation=cv2.INTER_AREA)
    shown = np.ascontiguousarray(small[:, ::-1]) if mirrored else small
    return Cut(np.asarray(shown, dtype=np.uint8), np.ones((BOARD, BOARD), dtype=np.bool_))


def heap(random: np.random.Generator) -> Image:
    """Return a ground that is as full as a board: pieces of other products of the drawing, any way round."""
    picture = np.zeros((*PICTURE, 3), np.uint8)
    pieces = [Simulation(name, seed=6).good(int(random.integers(40))).image for name in ("pcb", "disc", "bracket")]
    for top in range(0, PICTURE[0], 80):
        for left in range(0, PICTURE[1], 80):
            piece = pieces[random.integers(3)]
            y, x = random.integers(0, 352 - 80, 2)
            window = np.rot90(piece[y : y + 80, x : x + 80], int(random.integers(4)))
            picture[top : top + 80, left : left + 80] = window[:, ::-1] if random.random() < 0.5 else window
    return picture


def marks(count: int) -> dict[str, Any]:
    """Count boards on a heap of pieces of boards that are not found or wrong, and mirrored ones that are found."""
    random = np.random.default_rng(0)
    learnt = learn_template(laid(board(number), heap(random), random, turned=True)[0] for number in range(LEARNT))
    aligner = learnt.aligner
    cuts = (board(LEARNT + number % 200) for number in range(count))
    found = _posed(cuts, aligner, lambda: heap(random), random, BOARD)
    taken = 0
    others = count // 10
    for number in range(others):
        picture = laid(board(number, mirrored=True), heap(random), random, turned=True)[0]
        try:
            aligner.find(picture)
        except NotFoundError:
            continue
        taken += 1
    upright = [aligner.spec.height, aligner.spec.width]
    return {**found, "upright": upright, "mirrored boards taken for boards": [taken, others]}


def ranking(data: Path, product: str, draws: int, grounds: Sequence[Ground]) -> dict[str, Any]:
    """Fit to parts that lie alike and anyhow, with and without alignment: AUROC, recall, not found; draws are paired.

    Of a draw all rows have the same parts and the same seed of the coreset; ground, light and poses are drawn anew.
    """
    folder = data / ("magnetic-tile" if product == "tiles" else "cookie")
    cut: Callable[[Path], Cut | None] = tile if product == "tiles" else cookie
    defects = [path for kind in sorted((folder / "test").iterdir()) if kind.name != "good" for path in images_in(kind)]
    sets = [images_in(folder / "train/good")[:TRAINED], images_in(folder / "test/good")[:FRESH], some_of(defects, BAD)]
    found: dict[str, Any] = {}
    for ground in grounds:
        rows: dict[str, list[dict[str, Any]]] = {}
        for draw in range(draws):
            for turned in (False, True):
                random = np.random.default_rng(draw)
                with TemporaryDirectory() as scratch:
                    drawn = [_written(Path(scratch) / str(number), paths, cut, ground, random, turned=turned,
                                      copies=COPIES if number else 1) for number, paths in enumerate(sets)]  # fmt: skip
                    for align in ("none", "silhouette"):
                        name = f"{'turned' if turned else 'fixed'}, align {align}"
                        one = _ranked(drawn, Path(scratch) / align, align, draw)
                        rows.setdefault(name, []).append(one)
                        print(json.dumps({f"{ground} ground, {name}, draw {draw}": one}), flush=True)
        found[f"{ground} ground"] = _summary(rows)
    return found


def _summary(rows: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Return means over draws with their standard deviation, and differences to the unturned parts, draw by draw."""

    def told(values: Sequence[float]) -> list[float]:
        spread = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
        return [round(float(np.mean(values)), 4), round(spread, 4)]

    figures = ("auroc", "recall", "recall at 5 % false rejects")
    found: dict[str, Any] = {
        name: {figure: told([one[figure] for one in own]) for figure in figures} for name, own in rows.items()
    }
    for name in ("turned, align silhouette", "turned, align none"):
        own = name.split(", ")[1]
        pairs = list(zip(rows[name], rows[f"fixed, {own}"], strict=True))
        found[f"{name}, less fixed so"] = {
            figure: told([one[figure] - other[figure] for one, other in pairs]) for figure in figures
        }
    return found


def _written(
    folder: Path,
    paths: Sequence[Path],
    cut: Callable[[Path], Cut | None],
    ground: Ground,
    random: np.random.Generator,
    *,
    turned: bool,
    copies: int,
) -> list[Path]:
    folder.mkdir()
    written = []
    for path in paths:
        part = cut(path)
        if part is None:
            continue
        for number in range(copies):
            picture, _ = laid(part, ground, random, turned=turned)
            written.append(folder / f"{path.parent.name}-{path.stem}-{number}.png")
            cv2.imwrite(str(written[-1]), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    return written


def _ranked(drawn: Sequence[Sequence[Path]], folder: Path, align: str, seed: int) -> dict[str, Any]:
    settings = FitSettings.model_validate(
        {"product": "part", "name": "part", "align": align, "brightness": (1.0,), "ratio": 0.02, "seed": seed}
    )
    fit(list(drawn[0]), folder, settings)
    artifact = load_artifact(folder)
    inspector = Inspector(artifact, extractor_of(artifact))
    scores: list[list[float]] = []
    lost = []
    for paths in drawn[1:]:
        own = []
        for path in paths:
            try:
                (anomaly,) = inspect([(inspector, read_image(path))])
            except NotFoundError:
                continue
            own.append(anomaly.score)
        scores.append(own)
        lost.append(len(paths) - len(own))
    good, bad = scores
    # What is not found is no pass: it counts as a defect that is caught, and as a good part that is lost.
    caught = sum(score > artifact.threshold for score in bad) + lost[1]
    return {
        "trained": len(artifact.manifest.provenance.images),
        "auroc": round(float(roc_auc_score([0] * len(good) + [1] * len(bad), [*good, *bad])), 4),
        "recall": round(caught / len(drawn[2]), 4),
        "recall at 5 % false rejects": round(
            (sum(score > np.quantile(good, 1 - FALSE_REJECTS) for score in bad) + lost[1]) / len(drawn[2]), 4
        ),
        "false rejects": sum(score > artifact.threshold for score in good),
        "promise": artifact.manifest.calibration.false_reject,
        "good, not found": [len(drawn[1]), lost[0]],
        "defective, not found": [len(drawn[2]), lost[1]],
    }


def speed(data: Path) -> dict[str, Any]:
    """Time finding a part and making the network's input at 0.3, 1 and 12 megapixels: CPU ms an image, one thread."""
    cv2.setNumThreads(1)
    good = images_in(data / "magnetic-tile/train/good")
    found = {}
    for scale in (1.0, 1.83, 6.25):
        random = np.random.default_rng(2)
        count = 16 if scale < 4 else 6
        tiles = [laid(tile(path, notched=True), "plain", random, turned=True, scale=scale)[0] for path in good[:count]]
        boards = [laid(board(one), heap(random), random, turned=True, scale=scale)[0] for one in range(count)]
        kinds: dict[str, tuple[list[Image], Callable[[list[Image]], Learnt]]] = {
            "silhouette": (tiles, learn_silhouette),
            "template": (boards, learn_template),
        }
        for kind, (pictures, learn) in kinds.items():
            height, width = pictures[0].shape[:2]
            found[f"{kind}, {width} × {height}"] = _timed(pictures, learn(pictures).aligner)
    return found


def _timed(pictures: Sequence[Image], aligner: Aligner) -> dict[str, float]:
    preprocess = Preprocess()
    took: dict[str, list[float]] = {"find": [], "sample": [], "resize without": []}
    for _ in range(3):
        for picture in pictures:
            began = time.process_time()
            view = aligner.view(picture)
            took["find"].append(time.process_time() - began)
            began = time.process_time()
            preprocess.apply(view)
            took["sample"].append(time.process_time() - began)
            began = time.process_time()
            preprocess.apply(picture)
            took["resize without"].append(time.process_time() - began)
    return {name: round(1000 * float(np.median(one)), 1) for name, one in took.items()}


def main() -> None:
    """Run one of the measurements."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("poses", "marks", "tiles", "cookies", "speed"))
    parser.add_argument("--count", type=int, default=2000, help="parts whose pose is checked")
    parser.add_argument("--draws", type=int, default=3, help="of tiles and cookies")
    parser.add_argument("--ground", choices=GROUNDS, action="append", help="of tiles and cookies; default: both")
    parser.add_argument("--data", type=Path, help="folder of all data sets; default: NEVERBLINK_DATA")
    given = parser.parse_args()
    data = data_folder(parser, given.data)
    if given.what == "poses":
        result = poses(data, given.count)
    elif given.what == "marks":
        result = marks(given.count)
    elif given.what == "speed":
        result = speed(data)
    else:
        result = ranking(data, given.what, given.draws, given.ground or GROUNDS)
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
