"""What growth costs: the time for one image by bank size, image size and number of products.

Banks are drawn at random from real patches, so that searches which cut work by the data's shape meet real shapes.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import torch
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, ScalarFormatter

from bench.real_images import Image, data_folder, read_all, weights_of
from neverblink.trainer.datasets.images import good_images
from neverblink.vision.backbones import load_backbone
from neverblink.vision.network_names import DEFAULT_MODEL
from neverblink.vision.patchcore import FeatureExtractor, PatchCore
from neverblink.vision.preprocess import Preprocess

BANKS = (1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000)
SIZES = (224, 256, 320, 384, 512, 768, 1024)
PRODUCTS = (1, 2, 5, 10, 20, 50, 100, 200)
SIDE = 256
USUAL_BANK = 2_000
"""Vectors in a bank of 200 images of 256 px at 1 %."""


@dataclass(frozen=True)
class Curve:
    """Milliseconds for one image over what grows."""

    name: str
    axis: str
    points: list[tuple[int, float]]


def milliseconds(work: Callable[[int], object], rounds: int) -> float:
    """Return the median time of `work`, which is given the round's number; one round before warms up."""
    taken = []
    for number in range(-1, rounds):
        start = time.perf_counter()
        work(number)
        if number >= 0:
            taken.append(1000 * (time.perf_counter() - start))
    return median(taken)


def bank_curve(
    extractor: FeatureExtractor, patches: torch.Tensor, image: Image, banks: list[int], rounds: int
) -> Curve:
    """Score one image's features against ever larger banks."""
    features = extractor.extract([image])
    points = []
    for size in banks:
        model = PatchCore(patches[:size].clone(), preprocess=extractor.spec.preprocess)
        points.append((size, milliseconds(lambda _, model=model: model.score(features), rounds)))  # type: ignore[misc]
    return Curve("search and map", "vectors in the bank", points)


def size_curve(model: str, weights: Path | None, patches: torch.Tensor, image: Image, rounds: int) -> Curve:
    """Extract and score one image at ever larger inputs, against one bank."""
    points = []
    for size in SIZES:
        preprocess = Preprocess(resize=size)
        extractor = FeatureExtractor(load_backbone(model, weights=weights, preprocess=preprocess))
        scorer = PatchCore(patches[:USUAL_BANK].clone(), preprocess=preprocess)
        points.append((size, milliseconds(lambda _: scorer.score(extractor.extract([image])), rounds)))  # noqa: B023
    return Curve("whole image", "input side in px", points)


def product_curve(extractor: FeatureExtractor, patches: torch.Tensor, image: Image, rounds: int) -> Curve:
    """Score one image of ever more products in turn: one backbone, a bank for each product."""
    points = []
    models: list[PatchCore] = []
    starts = torch.Generator().manual_seed(0)
    for count in PRODUCTS:
        while len(models) < count:
            start = int(torch.randint(len(patches) - USUAL_BANK, (1,), generator=starts))
            bank = patches[start : start + USUAL_BANK].clone()
            models.append(PatchCore(bank, preprocess=extractor.spec.preprocess))
        turn = milliseconds(lambda n: models[n % len(models)].score(extractor.extract([image])), max(rounds, 20))
        points.append((count, turn))
    return Curve("whole image, products in turn", "products", points)


def plot(curves: list[Curve], folder: Path, title: str) -> list[Path]:
    """Write one SVG per curve."""
    written = []
    for curve in curves:
        figure = Figure(figsize=(5, 3.2), layout="constrained")
        axes = figure.subplots()
        axes.loglog(*zip(*curve.points, strict=True), marker="o")
        axes.set(xlabel=curve.axis, ylabel="ms per image", title=f"{curve.name}, {title}")
        axes.set_xticks([x for x, _ in curve.points], [f"{x:,}" for x, _ in curve.points], rotation=45)
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(ScalarFormatter())
        axes.minorticks_off()
        # Room above and below: noise on a flat curve is not to look like a slope.
        taken = [y for _, y in curve.points]
        axes.set_ylim(min(taken) / 2, max(taken) * 2)
        axes.grid(visible=True, alpha=0.3)
        path = folder / f"growth-{curve.axis.split()[0]}.svg"
        # The same figures give the same file.
        with rc_context({"svg.hashsalt": "growth"}):
            figure.savefig(path, metadata={"Date": None})
        written.append(path)
    return written


def main() -> None:
    """Measure the three curves, print them, and plot them where asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="folder of the data sets; default NEVERBLINK_DATA")
    parser.add_argument("--backbone", default=DEFAULT_MODEL)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--largest", type=int, default=BANKS[-1], help="largest bank")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--plots", type=Path, help="folder for SVG plots")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    data = data_folder(parser, given.data)
    weights = weights_of(given.backbone, data)
    extractor = FeatureExtractor(load_backbone(given.backbone, weights=weights, preprocess=Preprocess(resize=SIDE)))
    per_image = extractor.grid[0] * extractor.grid[1]
    paths = good_images(data / "magnetic-tile")[: -(-max(given.largest, 2 * USUAL_BANK) // per_image) + 1]
    image = read_all(paths[:1])[0]
    features = [extractor.extract(read_all([path])).cpu().flatten(0, 2) for path in paths[1:]]
    patches = torch.cat(features)
    patches = patches[torch.randperm(len(patches), generator=torch.Generator().manual_seed(0))]
    curves = [
        bank_curve(extractor, patches, image, [size for size in BANKS if size <= given.largest], given.rounds),
        size_curve(given.backbone, weights, patches, image, given.rounds),
        product_curve(extractor, patches, image, given.rounds),
    ]
    for curve in curves:
        print(
            f"\n{curve.name}, {given.backbone}, {given.threads} threads\n\n| {curve.axis} | ms per image |\n|---|---|"
        )
        for x, taken in curve.points:
            print(f"| {x:,} | {taken:.1f} |")
    if given.plots:
        for path in plot(curves, given.plots, given.backbone):
            print(f"wrote {path}")


if __name__ == "__main__":
    main()
