"""The PatchCore paper's table: fit and evaluate every category of a data set in MVTec layout, by the paper's details.

Wide ResNet-50-2 with torchvision's weights, levels 2 and 3, 1,024 numbers a patch, 256 px cropped to 224, a coreset
chosen in 128 random directions from ten starts. Finished categories are kept, so that a run can go on later.
"""

import argparse
import json
import statistics
from dataclasses import dataclass
from pathlib import Path

from neverblink.trainer.datasets.images import good_images, labelled_images
from neverblink.trainer.evaluation.evaluate import evaluate
from neverblink.trainer.fitting.fit import fit as fit_model
from neverblink.trainer.fitting.settings import settings_from
from neverblink.vision.errors import VisionError

MODEL = "wide_resnet50_2.tv_in1k"

PUBLISHED = {
    "bottle": (100.0, 98.5, 95.9),
    "cable": (99.3, 98.2, 91.6),
    "capsule": (98.0, 98.8, 95.5),
    "carpet": (98.0, 98.9, 96.5),
    "grid": (98.6, 98.6, 96.1),
    "hazelnut": (100.0, 98.6, 93.8),
    "leather": (100.0, 99.3, 98.9),
    "metal_nut": (99.7, 98.4, 91.2),
    "pill": (97.0, 97.1, 92.9),
    "screw": (96.4, 99.2, 97.1),
    "tile": (99.4, 96.1, 88.3),
    "toothbrush": (100.0, 98.5, 90.2),
    "transistor": (99.9, 94.9, 81.2),
    "wood": (99.2, 95.1, 89.5),
    "zipper": (99.2, 98.8, 97.0),
}
"""Image AUROC, pixel AUROC and AU-PRO in per cent at a bank of 1 % (Roth et al., CVPR 2022, supplement)."""


@dataclass(frozen=True)
class Figures:
    """Image AUROC, pixel AUROC and AU-PRO of one category and seed; None where no mask has a defect pixel."""

    image: float
    pixel: float | None
    pro: float | None


def measure(category: Path, seed: int, given: argparse.Namespace) -> Figures:
    """Fit and evaluate one category, unless that was done before with the same options."""
    options = {
        "model": given.backbone,
        "weights": given.weights,
        "size": 256,
        "crop": 224,
        "dimension": given.dimension or None,
        "ratio": given.ratio,
        "projection": 128,
        "starts": 10,
        "neighbours": given.neighbours,
        "seed": seed,
        "device": given.device,
    }
    place = given.out / category.name / f"seed-{seed}"
    file, artifact = place / "figures.json", place / "artifact"
    asked = json.loads(json.dumps(options, default=str))
    if file.is_file() and (kept := json.loads(file.read_text()))["options"] == asked:
        return Figures(**kept["figures"])
    place.mkdir(parents=True, exist_ok=True)
    settings = settings_from({"product": category.name, "name": category.name, **options})
    fit_model(good_images(category), artifact, settings)
    found = evaluate(labelled_images(category), artifact, given.weights, device=given.device)
    figures = Figures(found.image_auroc, found.pixels.auroc, found.pixels.au_pro)
    file.write_text(json.dumps({"options": asked, "figures": vars(figures)}))
    return figures


def cell(values: list[float | None], published: float | None) -> str:
    """Return the median over seeds in per cent, and what was published."""
    known = [value for value in values if value is not None]
    ours = f"{100 * statistics.median(known):.1f}" if known else "–"
    return ours if published is None else f"{ours} ({published:.1f})"


def main() -> None:
    """Print a row per category as it is measured, then the mean."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with a folder per category, in MVTec layout")
    parser.add_argument("--out", type=Path, required=True, help="folder for artifacts and figures, kept between runs")
    parser.add_argument("--categories", nargs="+", help="default: every folder of --data with train/good and test")
    parser.add_argument("--backbone", default=MODEL)
    parser.add_argument("--weights", type=Path, help="safetensors file; default: timm's, downloaded once")
    parser.add_argument("--dimension", type=int, default=1024, help="numbers a patch; 0: the channels of all levels")
    parser.add_argument("--ratio", type=float, default=0.01)
    parser.add_argument("--neighbours", type=int, default=9, help="b of eq. 7; 0: the plain maximum")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args()
    names = given.categories or sorted(
        folder.name for folder in given.data.glob("*/") if all((folder / p).is_dir() for p in ("train/good", "test"))
    )
    if not names:
        parser.error(f"{given.data} has no folder with train/good and test in it")
    print("in brackets: published, at a bank of 1 %\n")
    print("| category | image AUROC | pixel AUROC | AU-PRO |\n|---|---|---|---|")
    rows: list[list[float]] = []
    for name in names:
        try:
            found = [measure(given.data / name, seed, given) for seed in range(given.seeds)]
        except VisionError as error:
            parser.error(f"{name}: {error}")
        published = PUBLISHED.get(name, (None, None, None))
        columns = [[getattr(one, column) for one in found] for column in ("image", "pixel", "pro")]
        cells = [cell(values, paper) for values, paper in zip(columns, published, strict=True)]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)
        if all(value is not None for values in columns for value in values):
            rows.append([statistics.median(values) for values in columns])
    if len(rows) > 1:
        means = (f"{100 * statistics.mean(column):.1f}" for column in zip(*rows, strict=True))
        print(f"| mean | {' | '.join(means)} |")


if __name__ == "__main__":
    main()
