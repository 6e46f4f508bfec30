"""What each payload costs the camera node, the wire and the scorer; and what JPEG does to the score.

The score's part fits one model per data set on the images as they are, and judges the test images as they are and after
each JPEG quality.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
from sklearn.metrics import roc_auc_score

from bench.real_images import Image, data_folder, read_all
from neverblink.camera.picture import Picture, encoded
from neverblink.plant import Payload
from neverblink.trainer.datasets.images import good_images
from neverblink.trainer.fitting.fit import fit
from neverblink.trainer.fitting.settings import FitSettings
from neverblink.vision.artifact import load_artifact
from neverblink.vision.decode import SUFFIXES, decode
from neverblink.vision.inspector import Inspector, extractor_of, inspect

SIZES = ((640, 480), (1600, 1200), (4096, 3000))
PAYLOADS = {
    "raw": Payload(format="raw"),
    "png": Payload(format="png"),
    "jpeg 95": Payload(format="jpeg", jpeg_quality=95),
    "jpeg 80": Payload(format="jpeg", jpeg_quality=80),
}
QUALITIES = (95, 90, 80, 60)
DATA_SETS = ("cookie", "mvtec-hazelnut-256", "mvtec-transistor-256", "magnetic-tile")
GOOD, AT_ONCE = 200, 8


def filled(images: Sequence[Image], width: int, height: int) -> Image:
    """Lay real images side by side until they fill (height, width, 3): the texture stays as the camera saw it."""
    rows: list[Image] = []
    turn = 0
    while sum(row.shape[0] for row in rows) < height:
        pieces: list[Image] = []
        while sum(piece.shape[1] for piece in pieces) < width:
            pieces.append(images[turn % len(images)])
            turn += 1
        rows.append(np.concatenate(pieces, axis=1)[:, :width])
    return np.ascontiguousarray(np.concatenate(rows)[:height])


def milliseconds(work: Callable[[], object], rounds: int) -> float:
    """Return the median CPU time of one call, after a first one: what else the machine does is not counted."""
    work()
    taken = []
    for _ in range(rounds):
        start = time.thread_time()
        work()
        taken.append(time.thread_time() - start)
    return 1e3 * statistics.median(taken)


def costs(data: Path, rounds: int) -> None:
    """Print encode and decode times and bytes by size, colour and payload."""
    images = read_all(good_images(data / "cookie"))
    print("| image | payload | bytes | share of raw | encode ms | decode ms |\n|---|---|---|---|---|---|")
    for width, height in SIZES:
        colour = filled(images, width, height)
        for kind, pixels in (("RGB", colour), ("grey", cv2.cvtColor(colour, cv2.COLOR_RGB2GRAY).astype(np.uint8))):
            for name, payload in PAYLOADS.items():
                picture = encoded(pixels, payload)
                into = milliseconds(partial(encoded, pixels, payload), rounds)
                back = milliseconds(partial(decoded, picture), rounds)
                print(
                    f"| {width} × {height} {kind} | {name} | {len(picture.body):,} |"
                    f" {len(picture.body) / pixels.nbytes:.2f} | {into:.1f} | {back:.1f} |",
                    flush=True,
                )


def decoded(picture: Picture) -> Image:
    """Decode as the scorer does."""
    return decode(picture.body, content_type=picture.content_type)


def tested(folder: Path) -> tuple[list[Path], list[bool]]:
    """Return the test images of a data set in MVTec layout and which are defective."""
    paths = sorted(path for path in (folder / "test").rglob("*") if path.suffix.lower() in SUFFIXES)
    return paths, [path.parent.name != "good" for path in paths]


def scores_of(inspector: Inspector, images: Sequence[Image]) -> np.ndarray:
    """Return the image scores."""
    found = []
    for start in range(0, len(images), AT_ONCE):
        found += [one.score for one in inspect([(inspector, image) for image in images[start : start + AT_ONCE]])]
    return np.array(found)


def effect(data: Path, name: str) -> None:
    """Print how the score changes with JPEG's quality, as a share of the threshold."""
    good = good_images(data / name)
    paths, defective = tested(data / name)
    with TemporaryDirectory() as place:
        folder = Path(place) / name
        fit(good[:: max(1, len(good) // GOOD)], folder, FitSettings(product=name, name=name))
        artifact = load_artifact(folder)
        inspector = Inspector(artifact, extractor_of(artifact))
        images = read_all(paths)
        plain = scores_of(inspector, images) / artifact.threshold
        print(f"| {name} | as it is | {roc_auc_score(defective, plain):.4f} | | | |", flush=True)
        for quality in QUALITIES:
            payload = Payload(format="jpeg", jpeg_quality=quality)
            lossy = scores_of(inspector, [decoded(encoded(image, payload)) for image in images]) / artifact.threshold
            change = np.abs(lossy - plain)
            print(
                f"| {name} | jpeg {quality} | {roc_auc_score(defective, lossy):.4f} | {np.median(change):.3f} |"
                f" {change.max():.3f} | {int(((lossy > 1) != (plain > 1)).sum())} of {len(paths)} |",
                flush=True,
            )


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="folder of the data sets; default NEVERBLINK_DATA")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--sets", nargs="*", default=list(DATA_SETS), help="data sets whose scores are compared")
    given = parser.parse_args()
    data = data_folder(parser, given.data)
    cv2.setNumThreads(1)
    costs(data, given.rounds)
    print("\n| images | payload | AUROC | change, median | change, largest | decisions that changed |")
    print("|---|---|---|---|---|---|")
    for name in given.sets:
        effect(data, name)


if __name__ == "__main__":
    main()
