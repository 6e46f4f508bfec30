"""What limits learnt by `neverblink camera learn-limits` refuse: good parts, spoilt good parts, defective parts.

Every second good image is learnt from; all others are judged, as they are and spoilt.
"""

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from bench.real_images import Image, data_folder, read_all
from neverblink.camera.learnt_limits import learn
from neverblink.plant import QualityLimits
from neverblink.trainer.datasets.images import good_images
from neverblink.vision.decode import SUFFIXES, read_image
from neverblink.vision.quality import judge, measure

DATA_SETS = ("mvtec-hazelnut-256", "mvtec-transistor-256", "magnetic-tile", "deeppcb")


def blurred(image: Image, sigma: float) -> Image:
    """Return the image as a lens out of focus shows it."""
    return cv2.GaussianBlur(image, (0, 0), sigma).astype(np.uint8)


SPOILT: dict[str, Callable[[Image], Image]] = {
    "blur σ 0.7": partial(blurred, sigma=0.7),
    "blur σ 1": partial(blurred, sigma=1),
    "blur σ 2": partial(blurred, sigma=2),
    "light × 0.8": lambda image: (image * 0.8).astype(np.uint8),
    "light × 0.5": lambda image: (image * 0.5).astype(np.uint8),
    "light × 1.7": lambda image: np.clip(image * 1.7, 0, 255).astype(np.uint8),
}


def share(images: list[Image], limits: QualityLimits) -> str:
    """Return the share of images that the limits refuse, in per cent."""
    refused = sum(judge(measure(image), limits) is not None for image in images)
    return f"{100 * refused / len(images):.1f} %"


def main() -> None:
    """Print one row a data set."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="folder of the data sets; default NEVERBLINK_DATA")
    data = data_folder(parser, parser.parse_args().data)
    print(f"| images | learnt from | good | defective | {' | '.join(SPOILT)} |")
    print("|---|---|---|---|" + "---|" * len(SPOILT))
    for name in DATA_SETS:
        good = read_all(good_images(data / name))
        learnt_from, others = good[::2], good[1::2]
        learnt = learn([measure(image) for image in learnt_from], [image.shape[1::-1] for image in learnt_from])
        limits = QualityLimits.model_validate({limit.name: limit.value for limit in learnt.limits})
        paths = sorted(path for path in (data / name / "test").rglob("*") if path.suffix.lower() in SUFFIXES)
        defective = [read_image(path) for path in paths if path.parent.name != "good"]
        cells = [share(others, limits), share(defective, limits)]
        cells += [share([spoil(image) for image in others], limits) for spoil in SPOILT.values()]
        print(f"| {name} | {len(learnt_from)} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
