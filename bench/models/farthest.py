"""What an image's score costs without searching for every patch, by bank size: CPU time, equality, ranking, images/s.

Real images, one network, nested greedy coresets, everything in one run and in turn, by the process's CPU time, so that
what else the machine does meets all alike.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor

from bench.models.tutorial import TutorialPatchCore
from bench.real_images import data_folder, read_all, weights_of
from neverblink.trainer.datasets.images import good_images, labelled_images
from neverblink.vision.backbones import load_backbone
from neverblink.vision.coreset import greedy_k_center, project
from neverblink.vision.neighbours import AugmentedGemm, FarthestSearch, neighbour_index
from neverblink.vision.network_names import DEFAULT_MODEL
from neverblink.vision.patchcore import FeatureExtractor, PatchCore
from neverblink.vision.preprocess import Preprocess

SIDE = 256
TOPS = (1, 3, 10)
BATCH = 8


def banks_of(extractor: FeatureExtractor, images: Path, ratios: Sequence[float], kept: Path | None) -> list[Tensor]:
    """Return the banks of some ratios, each the beginning of the next; `kept` is a file that spares a second choice."""
    paths = good_images(images)
    counts = [round(ratio * len(paths) * extractor.grid[0] * extractor.grid[1]) for ratio in ratios]
    if kept is not None and kept.exists():
        largest = torch.load(kept, weights_only=True)
    else:
        parts = (read_all(paths[start : start + BATCH]) for start in range(0, len(paths), BATCH))
        patches = torch.cat([extractor.extract(part).flatten(0, 2) for part in parts])
        largest = patches[greedy_k_center(project(patches, 64, seed=0), max(counts))]
        if kept is not None:
            torch.save(largest, kept)
    return [largest[:count].clone() for count in counts]


def cpu_ms(ways: dict[str, Callable[[Tensor], object]], images: Tensor, rounds: int, batch: int) -> dict[str, float]:
    """Return each way's median CPU time an image, the ways in turn."""
    taken: dict[str, list[float]] = {name: [] for name in ways}
    parts = [images[start : start + batch] for start in range(0, len(images), batch)]
    for way in ways.values():
        way(parts[0])
    for _ in range(rounds):
        for part in parts:
            for name, way in ways.items():
                began = time.process_time()
                way(part)
                taken[name].append((time.process_time() - began) / len(part))
    return {name: 1000 * median(found) for name, found in taken.items()}


def furthest_off(search: FarthestSearch, bank: Tensor, images: Tensor) -> float:
    """Return the largest relative difference of a mean of top k from the plain search in float64."""
    worst = 0.0
    exact = bank.double()
    squared = exact.square().sum(dim=1)
    for image in images:
        own = image.double()
        nearest = torch.addmm(squared, own, exact.T, alpha=-2).amin(dim=1).add_(own.square().sum(dim=1)).sqrt_()
        for top in TOPS:
            wanted = nearest.topk(top).values.mean()
            found = search.top(image[None], top).distance.double().mean()
            worst = max(worst, float((found - wanted).abs() / wanted))
    return worst


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="folder of the data sets; default NEVERBLINK_DATA")
    parser.add_argument("--ratios", type=float, nargs="+", default=[0.01, 0.04, 0.1])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--timed", type=int, default=16, help="images of each kind that are timed")
    parser.add_argument("--tested", type=int, default=120, help="images for the AUROC, half of them defective")
    parser.add_argument("--compared", type=int, default=2, help="images of each kind compared with float64")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--bank", type=Path, help="file that keeps the largest bank for the next run")
    given = parser.parse_args()
    data = data_folder(parser, given.data)
    images = data / "magnetic-tile"
    backbone = load_backbone(DEFAULT_MODEL, weights=weights_of(DEFAULT_MODEL, data), preprocess=Preprocess(resize=SIDE))
    tested = labelled_images(images)
    paths = [[one.path for one in tested if (one.defect is None) is good] for good in (True, False)]
    chosen = [own[:: max(1, len(own) // (given.tested // 2))][: given.tested // 2] for own in paths]
    pictures = [read_all(own) for own in chosen]
    for threads in given.threads:
        torch.set_num_threads(threads)
        extractor = FeatureExtractor(backbone)
        banks = banks_of(extractor, images, given.ratios, given.bank)
        shown = [torch.cat([extractor.extract([one]) for one in own]) for own in pictures]
        alone = network_ms(extractor, pictures)
        print(f"\n{threads} threads, {given.timed} images of each kind, CPU ms an image; network {alone:.1f}\n")
        print(
            "| bank | image | product | index | complete | score, 1 / 3 / 10 | batches of 8 | share of search | off |"
        )
        print("|---|---|---|---|---|---|---|---|---|")
        for bank in banks:
            table(bank, shown, alone, given)
        if threads == given.threads[-1]:
            print(f"\nfrom pixels to score, {threads} threads, {given.timed} frames, half of them defective\n")
            print("| bank | way | images per CPU second | image AUROC |\n|---|---|---|---|")
            for bank in banks:
                whole(extractor, bank, pictures, threads, given)


def network_ms(extractor: FeatureExtractor, pictures: Sequence[Sequence[np.ndarray]]) -> float:
    """Return the CPU time of the features of one image."""
    inputs = torch.from_numpy(np.stack([extractor.prepare(one) for own in pictures for one in own[:8]]))
    return cpu_ms({"network": lambda part: extractor.embed(list(part.numpy()))}, inputs, 1, 1)["network"]


def table(bank: Tensor, shown: Sequence[Tensor], network: float, given: argparse.Namespace) -> None:
    """Print a bank's lines: good images, then defective ones."""
    index, grid = neighbour_index(bank), shown[0].shape[1:]
    gemm, search, scorer = AugmentedGemm(bank), FarthestSearch(bank, index), PatchCore(bank)
    for kind, features in zip(("good", "defective"), shown, strict=True):
        patches = features[: given.timed].flatten(1, 2)
        off = furthest_off(search, bank, patches[: given.compared])
        ways: dict[str, Callable[[Tensor], object]] = {
            "product": lambda part: gemm.distances(part.flatten(0, 1)),
            "index": lambda part: index.distances(part.flatten(0, 1)),
            "complete": lambda part: scorer.score(part.view(len(part), *grid), complete=True),
            **{str(top): partial(search.top, count=top) for top in TOPS},
        }
        alone = cpu_ms(ways, patches, given.rounds, 1)
        together = cpu_ms({"1": ways["1"]}, patches, given.rounds, BATCH)["1"]
        shares = [taken / (taken + network) for taken in (alone["complete"], alone["1"], together)]
        scored = " / ".join(f"{alone[str(top)]:.1f}" for top in TOPS)
        print(
            f"| {len(bank)} × {bank.shape[1]} | {kind} | {alone['product']:.1f} | {type(index).__name__}"
            f" {alone['index']:.1f} | {alone['complete']:.1f} | {scored} | {together:.1f} |"
            f" {' / '.join(f'{share:.0%}' for share in shares)} | {off:.1e} |",
            flush=True,
        )


def whole(
    extractor: FeatureExtractor,
    bank: Tensor,
    pictures: Sequence[Sequence[np.ndarray]],
    threads: int,
    given: argparse.Namespace,
) -> None:
    """Print images a second of CPU from pixels to score, and the AUROC, of ours and the tutorial."""
    frames = [one for pair in zip(*pictures, strict=True) for one in pair]
    labels = [False, True] * len(pictures[0])
    scorer = PatchCore(bank, preprocess=extractor.spec.preprocess)
    backbone = load_backbone(DEFAULT_MODEL, preprocess=extractor.spec.preprocess)
    tutorial = TutorialPatchCore(backbone, bank.numpy(), threads=threads)
    ways: dict[str, Callable[[np.ndarray], float]] = {
        "score": lambda frame: scorer.score(extractor.extract([frame]))[0].score,
        "score and map, as before": lambda frame: scorer.score(extractor.extract([frame]), complete=True)[0].score,
        "tutorial": lambda frame: tutorial.score(frame)[0],
    }
    taken: dict[str, list[float]] = {name: [] for name in ways}
    scores: dict[str, list[float]] = {name: [] for name in ways}
    for way in ways.values():
        way(frames[0])
    for place, frame in enumerate(frames):
        for name, way in ways.items():
            if name == "score" or place < given.timed:
                began = time.process_time()
                scores[name].append(way(frame))
                taken[name].append(time.process_time() - began)
    for name in ways:
        ranked = f"{roc_auc_score(labels, scores[name]):.4f}" if len(scores[name]) == len(labels) else ""
        rate = given.timed / sum(taken[name][: given.timed])
        print(f"| {len(bank)} | {name} | {rate:.1f} | {ranked} |", flush=True)


if __name__ == "__main__":
    main()
