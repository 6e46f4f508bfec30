"""Time of the exact nearest-neighbour searches by bank size, on features of real images; and what `auto` chooses."""

import argparse
import statistics
import time
from pathlib import Path

import torch
from torch import Tensor

from bench.real_images import data_folder, read_all, weights_of
from neverblink.trainer.datasets.images import good_images
from neverblink.vision.backbones import load_backbone
from neverblink.vision.coreset import greedy_k_center, project
from neverblink.vision.neighbours import (
    AugmentedGemm,
    FaissFlat,
    HalfPrecisionGemm,
    NeighbourIndex,
    PrunedGemm,
    neighbour_index,
)
from neverblink.vision.patchcore import FeatureExtractor
from neverblink.vision.preprocess import Preprocess

BACKBONES = ("tf_efficientnet_lite0", "resnet18")
SIZES = (1000, 2000, 5000, 10000, 20000)
TRAINING, FRESH, SIDE, ROUNDS = 60, 6, 256, 7


def features_of(model: str, data: Path) -> tuple[Tensor, list[Tensor]]:
    """Return (N, C) patches to choose banks from, and the (h*w, C) patches of each fresh image."""
    backbone = load_backbone(model, weights=weights_of(model, data), preprocess=Preprocess(resize=SIDE))
    extractor = FeatureExtractor(backbone)
    images = read_all(good_images(data / "magnetic-tile")[: TRAINING + FRESH])
    found = [extractor.extract([image])[0].flatten(0, 1) for image in images]
    return torch.cat(found[:TRAINING]), found[TRAINING:]


def milliseconds(index: NeighbourIndex, images: list[Tensor], rounds: int) -> float:
    """Return the median time of one image's search, after a first one that warms up."""
    index.nearest(images[0])
    taken = []
    for turn in range(rounds * len(images)):
        start = time.perf_counter()
        index.nearest(images[turn % len(images)])
        taken.append(time.perf_counter() - start)
    return 1e3 * statistics.median(taken)


def main() -> None:
    """Print the size table of each backbone."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="folder of the data sets; default NEVERBLINK_DATA")
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES))
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    given = parser.parse_args()
    data = data_folder(parser, given.data)
    torch.set_num_threads(given.threads)
    for model in BACKBONES:
        patches, images = features_of(model, data)
        order = greedy_k_center(project(patches, 64, seed=0), max(given.sizes))
        print(
            f"\n{model}, {patches.shape[1]} numbers a patch, {len(images[0])} patches an image, "
            f"{given.threads} threads, median of {given.rounds} rounds over {len(images)} images\n\n"
            "| bank | GEMM ms | FAISS ms | pruned ms | half ms | GEMM / half | pruned / half | auto | auto took s |\n"
            "|---|---|---|---|---|---|---|---|---|"
        )
        for size in given.sizes:
            bank = patches[order[:size]].contiguous()
            gemm, faiss, pruned, half = (
                milliseconds(kind(bank), images, given.rounds)
                for kind in (AugmentedGemm, FaissFlat, PrunedGemm, HalfPrecisionGemm)
            )
            start = time.perf_counter()
            chosen = type(neighbour_index(bank)).__name__
            print(
                f"| {size} | {gemm:.1f} | {faiss:.1f} | {pruned:.1f} | {half:.1f} |"
                f" {gemm / half:.2f} | {pruned / half:.2f} |"
                f" {chosen} | {time.perf_counter() - start:.2f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
