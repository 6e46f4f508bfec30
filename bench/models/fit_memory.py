"""Peak memory of `neverblink fit` by number of images, each fit in a process of its own.

More images than there are come from real ones: shifted, brighter or darker, and with noise, so that no two are
equal and the bank has something to choose.
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np

from bench.real_images import Image, data_folder, read_all
from neverblink.trainer.datasets.images import good_images

COUNTS = (100, 500, 1000, 4000)
SIDE = 256


def perturbed(image: Image, random: np.random.Generator) -> Image:
    """Return a sibling of an image: rolled by up to 8 px, 0.9 to 1.1 as bright, with noise of two grey levels."""
    shifted = np.roll(image, tuple(random.integers(-8, 9, size=2)), axis=(0, 1)).astype(np.float32)
    noisy = shifted * random.uniform(0.9, 1.1) + random.normal(0, 2, size=image.shape)
    return np.clip(noisy, 0, 255).astype(np.uint8)


def write_images(folder: Path, originals: list[Image], first: int, count: int) -> None:
    """Write images number `first` to `count`; real ones while they last."""
    for number in range(first, count):
        image = originals[number % len(originals)]
        if number >= len(originals):
            image = perturbed(image, np.random.default_rng(number))
        cv2.imwrite(str(folder / f"{number:05}.png"), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))


def peak_of_fit(images: Path, out: Path, arguments: list[str]) -> tuple[float, float]:
    """Run `neverblink fit`; return its peak resident memory in GiB and its seconds. Raises SystemExit."""
    command = [sys.executable, "-m", "neverblink", "fit", str(images), "--product", "memory", "--out", str(out)]
    start = time.perf_counter()
    with (out.parent / "fit.log").open("wb") as log:
        redirect = [(os.POSIX_SPAWN_DUP2, log.fileno(), 1), (os.POSIX_SPAWN_DUP2, log.fileno(), 2)]
        process = os.posix_spawn(sys.executable, command + arguments, os.environ, file_actions=redirect)
        _, status, usage = os.wait4(process, 0)
    if os.waitstatus_to_exitcode(status) != 0:
        raise SystemExit(f"fit failed: {(out.parent / 'fit.log').read_text()[-500:]}")
    return usage.ru_maxrss / 1024**2, time.perf_counter() - start


def main() -> None:
    """Fit to ever more images and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="folder of the data sets; default NEVERBLINK_DATA")
    parser.add_argument("--counts", type=int, nargs="+", default=list(COUNTS))
    parser.add_argument("fit", nargs="*", help="options for fit, after --, such as -- --backbone resnet18 --weights F")
    given = parser.parse_args()
    paths = good_images(data_folder(parser, given.data) / "magnetic-tile")
    originals = [
        np.asarray(cv2.resize(image, (SIDE, SIDE)), dtype=np.uint8) for image in read_all(paths[: max(given.counts)])
    ]
    print(f"`neverblink fit` {' '.join(given.fit)}, {SIDE} px\n\n| images | peak GiB | seconds |\n|---|---|---|")
    with tempfile.TemporaryDirectory() as place:
        images = Path(place) / "images"
        images.mkdir()
        written = 0
        for count in sorted(given.counts):
            write_images(images, originals, written, count)
            written = count
            peak, seconds = peak_of_fit(images, Path(place) / f"artifact-{count}", given.fit)
            print(f"| {count} | {peak:.2f} | {seconds:.0f} |", flush=True)


if __name__ == "__main__":
    main()
