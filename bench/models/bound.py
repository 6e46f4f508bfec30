"""Does the calibrated threshold keep its promise? Many random splits of real good images.

One part of the good images makes the bank; all others are scored by it once. A split then draws m of those scores
to calibrate, and what the threshold rejects of the rest is counted. Two rates say when a promise p is broken:

- on the rest: what a plant would see next. The rest is finite, so its rate scatters around the true one, and a
  threshold that is right breaks p a little more often than 5 %. How often is known exactly for any scores that are
  exchangeable (negative hypergeometric), and printed beside the count.
- on all scored images: for the finite population that the splits are drawn from this *is* the true rate, without
  noise. Drawn without replacement it scatters less than the binomial law that the promise is made with, so at most
  5 % of splits may break it.

The limit is 5 %, or the expected share where that is more, plus one-sided 95 % binomial error of the splits.

With --grouped: pictures that are not as many witnesses as they are, made of the same tiles (near copies, items that are
laid down several times, drift in time), by the calibration of before and by groups, and what the test of likeness says.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from math import exp, lgamma
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from scipy.stats import binom

from bench.models.grouped_bound import grouped_table
from bench.real_images import data_folder, read_all, weights_of
from neverblink.trainer.datasets.images import good_images, labelled_images
from neverblink.vision.backbones import load_backbone
from neverblink.vision.calibration import CONFIDENCE, calibrate, normals_needed, threshold_rank
from neverblink.vision.coreset import greedy_k_center, project
from neverblink.vision.network_names import DEFAULT_MODEL
from neverblink.vision.patchcore import FeatureExtractor, PatchCore

RATES = (0.01, 0.02, 0.05, 0.10)
BATCH = 8
TILES = 400
"""Of which grouped pictures are made."""

PROJECTION = 64

Scores = npt.NDArray[np.float32]
Threshold = Callable[[Scores, Scores, float], float]
"""(m,) scores, (m,) map peaks and the rate asked for → the threshold on the score."""


@dataclass(frozen=True)
class Broken:
    """Share of splits that broke the promise, on the rest and on all, and the mean rate on the rest."""

    rest: float
    everything: float
    mean_rate: float


def bounded(scores: Scores, peaks: Scores, rate: float) -> float:
    """Return our threshold: an order statistic with 95 % confidence."""
    return calibrate(scores, peaks, false_reject=rate).threshold


def percentile(scores: Scores, _peaks: Scores, rate: float) -> float:
    """Return the plain percentile that tutorials use."""
    return float(np.percentile(scores, 100 * (1 - rate)))


def scored_normals(model: str, data: Path, cache: Path, bank_images: int, ratio: float) -> tuple[Scores, Scores]:
    """Return scores and map peaks of all good images but those of the bank, from the cache when they are there."""
    file = cache / f"magnetic-tile-{model}-{bank_images}-{ratio:g}.npz"
    if not file.is_file():
        tested = labelled_images(data / "magnetic-tile")
        paths = good_images(data / "magnetic-tile") + [image.path for image in tested if image.defect is None]
        # Neighbours by name come from one batch of production: both parts get some of each.
        order = np.random.default_rng(0).permutation(len(paths))
        extractor = FeatureExtractor(load_backbone(model, weights=weights_of(model, data)))

        def features_of(numbers: npt.NDArray[np.int64]) -> torch.Tensor:
            return extractor.extract(read_all([paths[number] for number in numbers])).cpu()

        first, rest = order[:bank_images], order[bank_images:]
        parts = [features_of(first[start : start + BATCH]) for start in range(0, len(first), BATCH)]
        patches = torch.cat(parts).flatten(0, 2)
        chosen = greedy_k_center(project(patches, PROJECTION, seed=0), round(ratio * len(patches)))
        scorer = PatchCore(patches[chosen], preprocess=extractor.spec.preprocess)
        found = [
            (anomaly.score, float(anomaly.anomaly_map.max()))
            for start in range(0, len(rest), BATCH)
            for anomaly in scorer.score(features_of(rest[start : start + BATCH]))
        ]
        scores, peaks = np.array(found, dtype=np.float32).T
        cache.mkdir(parents=True, exist_ok=True)
        np.savez(file, scores=scores, peaks=peaks)
    with np.load(file) as kept:
        return kept["scores"], kept["peaks"]


def split(scores: Scores, peaks: Scores, drawn: int, rate: float, threshold: Threshold, splits: int) -> Broken:
    """Draw many calibration sets and count how often what is left is rejected more often than promised."""
    random = np.random.default_rng(1)
    rest_broken, all_broken, rates = 0, 0, []
    for _ in range(splits):
        order = random.permutation(len(scores))
        limit = threshold(scores[order[:drawn]], peaks[order[:drawn]], rate)
        rejected = scores[order] > limit
        rates.append(float(rejected[drawn:].mean()))
        rest_broken += int(rejected[drawn:].sum() > rate * (len(scores) - drawn))
        all_broken += int(rejected.sum() > rate * len(scores))
    return Broken(rest_broken / splits, all_broken / splits, float(np.mean(rates)))


def expected_on_rest(drawn: int, left: int, rank: int, rate: float) -> float:
    """Return how often the rest's rate exceeds `rate` above the rank-th smallest of `drawn` exchangeable scores.

    Of all orders of drawn + left scores, those with r of the rest above the threshold are
    C(drawn - rank + r, r) · C(rank - 1 + left - r, left - r) of C(drawn + left, left).
    """
    above = drawn - rank

    def log_choose(n: int, k: int) -> float:
        return lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1)

    return sum(
        exp(log_choose(above + r, r) + log_choose(rank - 1 + left - r, left - r) - log_choose(drawn + left, left))
        for r in range(left + 1)
        if r > rate * left
    )


def limit_of(share: float, splits: int) -> float:
    """Return the highest share of splits that `share` explains with 95 % probability."""
    return float(binom.ppf(0.95, splits, share)) / splits


def main() -> None:
    """Count broken promises and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of the data sets; default NEVERBLINK_DATA")
    parser.add_argument("--cache", type=Path, required=True, help="folder where the scores are kept")
    parser.add_argument("--backbone", default=DEFAULT_MODEL)
    parser.add_argument("--bank-images", type=int, default=152)
    parser.add_argument("--ratio", type=float, default=0.01)
    parser.add_argument("--drawn", type=int, default=400, help="calibration images, beside the least that p needs")
    parser.add_argument("--splits", type=int, default=200)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--grouped", action="store_true", help="near copies, items and drift made of the tiles instead")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    data = data_folder(parser, given.data)
    if given.grouped:
        paths = good_images(data / "magnetic-tile")
        order = np.random.default_rng(0).permutation(len(paths))[:TILES]
        grouped_table(read_all([paths[place] for place in order]), given.cache, given.splits)
        return
    scores, peaks = scored_normals(given.backbone, data, given.cache, given.bank_images, given.ratio)
    allowed = 1 - CONFIDENCE
    print(f"{len(scores)} scored good images, {len(np.unique(scores))} different scores, {given.splits} splits;")
    print(f"on all images at most {limit_of(allowed, given.splits):.1%} of splits may break the promise\n")
    print("| p | m | threshold | broken on all | broken on the rest | expected | limit | mean rate |")
    print("|---|---|---|---|---|---|---|---|")
    for rate in RATES:
        for drawn in (normals_needed(rate), given.drawn):
            left = len(scores) - drawn
            expected = expected_on_rest(drawn, left, threshold_rank(drawn, rate), rate)
            limit = limit_of(max(allowed, expected), given.splits)
            for name, method in (("with bound", bounded), ("percentile", percentile)):
                found = split(scores, peaks, drawn, rate, method, given.splits)
                known = f"{expected:.1%} | {limit:.1%}" if method is bounded else " | "
                print(
                    f"| {rate:.0%} | {drawn} | {name} | {found.everything:.1%} | {found.rest:.1%} | {known}"
                    f" | {found.mean_rate:.2%} |"
                )


if __name__ == "__main__":
    main()
