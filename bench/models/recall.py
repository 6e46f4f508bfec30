"""Recall at a promised share of false rejects: what the memory bank's size and choice and the score add to it.

Every bank is chosen, and every training image scored by a bank without its fold, as `fit` does it; the threshold is
the one that `calibrate` sets for 1, 2 and 5 %, or for the tightest promise of so few images. Features are extracted
once and kept in a cache folder, and scores beside them, so that a run can be interrupted. A greedy choice begins with
that of a smaller bank: the ratios of one run are beginnings of its largest, chosen once, and a ratio that is given
alone is exactly what `fit` makes of it. Figures are medians over the seeds, with the lowest and the highest.
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from types import SimpleNamespace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from bench.models.nested import NestedBanks
from bench.models.quality import PIXEL_SIDE, SMOOTHING, Variant, auroc, truth_of
from bench.real_images import data_folder, weights_of
from neverblink.confidence.intervals import share_interval
from neverblink.trainer.datasets.images import LabelledImage, good_images, labelled_images
from neverblink.trainer.datasets.usable_pictures import usable_pictures
from neverblink.trainer.evaluation.pixel_ranking import PixelRanking
from neverblink.trainer.fitting.feature_store import FeatureStore
from neverblink.trainer.fitting.memory_banks import Banks, projected
from neverblink.trainer.fitting.settings import FitSettings
from neverblink.vision.anomaly_map import smoothing_matrix
from neverblink.vision.augmentation import brightened
from neverblink.vision.backbones import load_backbone
from neverblink.vision.calibration import threshold_rank, tightest_promise
from neverblink.vision.copies import one_each
from neverblink.vision.decode import read_image
from neverblink.vision.network_names import DEFAULT_MODEL
from neverblink.vision.patchcore import FeatureExtractor

SETS = ("magnetic-tile", "cookie", "deeppcb", "mvtec-transistor-256", "mvtec-hazelnut-256")
TOPS = (1, 3, 5, 10)
PROMISES = (0.01, 0.02, 0.05)
BATCH = 8

Scores = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Choice:
    """How a bank is made: with so many starts, beside those of so many folds, knowing each image in so many lights."""

    ratio: float
    starts: int
    folds: int
    levels: Literal[1, 2] | None
    brightness: tuple[float, ...]

    def __str__(self) -> str:
        lights = f"+light{'-'.join(f'{factor:g}' for factor in self.brightness)}" if len(self.brightness) > 1 else ""
        return f"{self.ratio or 'usual'}+starts{self.starts}+folds{self.folds}+levels{self.levels or ''}{lights}"


@dataclass(frozen=True)
class DataSet:
    """A set's images; `group` (n,) int64 counts training images that are copies as one."""

    name: str
    train: list[Path]
    group: npt.NDArray[np.int64]
    tested: list[LabelledImage]

    @classmethod
    def read(cls, name: str, data: Path) -> "DataSet":
        """Look at a set's images as `fit` does."""
        usable = usable_pictures(good_images(data / name))
        return cls(name, usable.paths, usable.copies.group, labelled_images(data / name))


@dataclass(frozen=True)
class Scored:
    """What one bank gives: (tops, groups) held-out `normals`, (tops, images) of the `test`, and its AU-PRO or NaN."""

    normals: Scores
    test: Scores
    au_pro: float


@dataclass(frozen=True)
class Places:
    """Where images are and where figures are kept; whether pixels are judged."""

    data: Path
    cache: Path
    pixels: bool


def features_of(data_set: DataSet, part: str, variant: Variant, light: float, places: Places) -> Tensor:
    """Return (N, h, w, C) float32 features of a part, from the cache when they are there."""
    file = places.cache / f"{data_set.name}-{variant}-{part}-{light:g}.npy"
    if not file.is_file():
        backbone = load_backbone(
            variant.model, weights=weights_of(variant.model, places.data), preprocess=variant.preprocess
        )
        extractor = FeatureExtractor(backbone)
        paths = data_set.train if part == "train" else [image.path for image in data_set.tested]
        shape = (len(paths), *extractor.grid, extractor.dimension)
        unfinished = file.with_suffix(".part")
        store = np.lib.format.open_memmap(unfinished, mode="w+", dtype=np.float32, shape=shape)
        for start in range(0, len(paths), BATCH):
            images = [brightened(read_image(path), light) for path in paths[start : start + BATCH]]
            store[start : start + BATCH] = extractor.extract(images).cpu().numpy()
        store.flush()
        unfinished.rename(file)
    return torch.from_numpy(np.load(file, mmap_mode="c"))


def measured(
    data_set: DataSet, variant: Variant, choice: Choice, ratios: Sequence[float], seed: int, *, places: Places
) -> list[Scored]:
    """Choose the banks of the largest ratio and score with those of all `ratios`, rising."""
    lights = [features_of(data_set, "train", variant, light, places) for light in choice.brightness]
    test = features_of(data_set, "test", variant, 1.0, places)
    count, high, wide, channels = lights[0].shape
    settings = FitSettings(
        product="bench",
        name="bench",
        ratio=choice.ratio or None,
        brightness=choice.brightness,
        starts=choice.starts,
        folds=choice.folds,
        seed=seed,
        memory_gib=16,
    )
    rows = count * len(lights)
    with FeatureStore(rows, high * wide, channels, in_memory=1 << 40) as store:
        for image in range(count):
            for light in lights:
                store.append(light[image : image + 1])
        with projected(store, settings) as small:
            # What `Banks` asks of the views of a fit.
            views: Any = SimpleNamespace(group=data_set.group, an_image=len(lights), region=None)
            banks = Banks(store, small, views, settings, levels=choice.levels)
            shares = [ratio / choice.ratio for ratio in ratios] if choice.ratio else [1.0]
            whole = banks.all_images(lambda _done, _total: None)
            as_it_is = lights[choice.brightness.index(1.0)].flatten(1, 2)
            held = np.empty((len(ratios), len(TOPS), count), dtype=np.float32)
            for fold in range(int(banks.fold_of.max()) + 1):
                own = torch.nonzero(banks.fold_of == fold).flatten()
                held[:, :, own.numpy()] = means(nested(banks.without(fold), shares), as_it_is[own])
    scores = means(nested(whole, shares), test.flatten(1, 2))
    pixels = [np.nan] * len(ratios)
    if places.pixels and seed == 0:
        pixels = au_pro(nested(whole, shares), test, data_set.tested, variant)
    return [
        Scored(np.stack([one_each(values, data_set.group) for values in normals]), found, pro)
        for normals, found, pro in zip(held, scores, pixels, strict=True)
    ]


def nested(bank: Tensor, shares: Sequence[float]) -> NestedBanks:
    """Cut a bank in greedy order into those of all ratios."""
    return NestedBanks(bank, [max(1, round(share * len(bank))) for share in shares], max(TOPS))


@torch.inference_mode()
def means(banks: NestedBanks, patches: Tensor) -> Scores:
    """Return (banks, tops, N) the means of the most unusual of (N, P, C) patches of each image."""
    found = torch.cat([banks.top(patches[start : start + BATCH]) for start in range(0, len(patches), BATCH)], dim=1)
    return torch.stack([found[:, :, :top].mean(dim=2) for top in TOPS], dim=1).numpy()


@torch.inference_mode()
def au_pro(banks: NestedBanks, test: Tensor, tested: Sequence[LabelledImage], variant: Variant) -> list[float]:
    """Return each bank's AU-PRO over the images that are good or have a mask."""
    _, high, wide, _ = test.shape
    rows, columns = (
        torch.from_numpy(smoothing_matrix(patches, variant.preprocess.side, SMOOTHING)).float()
        for patches in (high, wide)
    )
    rankings: list[PixelRanking] = []
    for features, image in zip(test, tested, strict=True):
        truth = truth_of(image)
        if truth is None:
            continue
        for place, distances in enumerate(banks.maps(features.flatten(0, 1)[None])):
            if place == len(rankings):
                rankings.append(PixelRanking())
            anomaly_map = variant.preprocess.uncrop((rows @ distances.view(high, wide) @ columns.T).numpy())
            assert anomaly_map.shape == (PIXEL_SIDE, PIXEL_SIDE), "masks are compared at 256 px"
            rankings[place].add(anomaly_map, truth)
    return [ranking.au_pro() or np.nan for ranking in rankings]


@dataclass(frozen=True)
class Figures:
    """Of one seed: AUROC, and for each promise recall and how many of the good parts are rejected."""

    auroc: float
    recall: tuple[float, ...]
    rejected: tuple[int, ...]


def figures(scored: Scored, top: int, defective: npt.NDArray[np.bool_]) -> Figures:
    """Judge the test by the thresholds that the held-out normals set."""
    normals, test = scored.normals[TOPS.index(top)], scored.test[TOPS.index(top)]
    recalls, rejects = [], []
    for promise in PROMISES:
        rate = max(promise, tightest_promise(len(normals)))
        threshold = np.sort(normals)[threshold_rank(len(normals), rate) - 1]
        recalls.append(float((test[defective] > threshold).mean()))
        rejects.append(int((test[~defective] > threshold).sum()))
    return Figures(auroc(test[~defective], test[defective]), tuple(recalls), tuple(rejects))


def spread(values: Sequence[float]) -> str:
    """Return the median with the lowest and the highest."""
    return f"{median(values):.3f} ({min(values):.3f}–{max(values):.3f})"


def interval(rejected: Sequence[int], count: int) -> str:
    """Return the median seed's share with its 95 % interval (Clopper and Pearson), in per cent."""
    found = sorted(rejected)[len(rejected) // 2]
    low, high = share_interval(found, count)
    return f"{100 * found / count:.1f} ({100 * low:.1f}–{100 * high:.1f})"


def lines(
    data_set: DataSet, label: str, found: Sequence[Scored], tops: Sequence[int], promises: Sequence[float]
) -> Iterator[str]:
    """Yield a row of the table a score."""
    defective = np.array([image.defect is not None for image in data_set.tested])
    good = int((~defective).sum())
    for top in tops:
        seeds = [figures(scored, top, defective) for scored in found]
        places = [PROMISES.index(promise) for promise in promises]
        cells = [spread([seed.auroc for seed in seeds])]
        cells += [spread([seed.recall[place] for seed in seeds]) for place in places]
        cells += [interval([seed.rejected[place] for seed in seeds], good) for place in places]
        pro = [scored.au_pro for scored in found if not np.isnan(scored.au_pro)]
        yield f"| {label} | {top} | {len(seeds)} | {' | '.join(cells)} | {f'{pro[0]:.3f}' if pro else '–'} |"


def stored(file: Path) -> Scored | None:
    """Return what an earlier run measured."""
    if not file.is_file():
        return None
    with np.load(file) as kept:
        return Scored(kept["normals"], kept["test"], float(kept["au_pro"]))


def main() -> None:
    """Measure what is not measured yet, and print a table a set."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="folder of the data sets; default NEVERBLINK_DATA")
    parser.add_argument("--cache", type=Path, required=True, help="folder for features and scores")
    parser.add_argument("--sets", nargs="+", default=list(SETS), choices=SETS)
    parser.add_argument("--variants", nargs="+", type=Variant.parse, default=[Variant.parse(f"{DEFAULT_MODEL}@256")])
    parser.add_argument("--ratios", nargs="+", type=float, default=[0.0], help="of all patches; 0: as `fit` takes")
    parser.add_argument("--starts", nargs="+", type=int, default=[1])
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--levels", type=int, choices=(1, 2), help="of k-center; default: as `fit` takes")
    parser.add_argument("--brightness", nargs="+", type=float, default=[1.0])
    parser.add_argument("--tops", nargs="+", type=int, default=list(TOPS), choices=TOPS)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--pixels", action="store_true", help="AU-PRO too, of seed 0")
    parser.add_argument("--together", action="store_true", help="choose the largest ratio, and take its beginnings")
    given = parser.parse_args()
    data = data_folder(parser, given.data)
    torch.set_num_threads(1)
    given.cache.mkdir(parents=True, exist_ok=True)
    places = Places(data, given.cache, given.pixels)
    ratios = sorted(given.ratios)
    for name in given.sets:
        data_set = DataSet.read(name, data)
        rows: list[str] = []
        for variant in given.variants:
            for starts in given.starts:
                runs = [ratios] if given.together else [[ratio] for ratio in ratios]
                for run in runs:
                    choice = Choice(run[-1], starts, given.folds, given.levels, tuple(given.brightness))
                    found: dict[float, list[Scored]] = {ratio: [] for ratio in run}
                    for seed in range(given.seeds):
                        files = [given.cache / f"{name} {variant} {choice} {ratio:g} {seed}.npz" for ratio in run]
                        kept = [stored(file) for file in files]
                        if None in kept:
                            kept = [*measured(data_set, variant, choice, run, seed, places=places)]
                            for file, one in zip(files, kept, strict=True):
                                assert one is not None
                                np.savez(file, normals=one.normals, test=one.test, au_pro=one.au_pro)
                        for ratio, one in zip(run, kept, strict=True):
                            assert one is not None
                            found[ratio].append(one)
                    for ratio, several in found.items():
                        label = f"{variant} {choice}" + (f" at {100 * ratio:g} %" if given.together else "")
                        rows += lines(data_set, label, several, given.tops, PROMISES)
                        print("\n".join(rows[-len(given.tops) :]), flush=True)
        normals = int(data_set.group.max()) + 1
        print(f"\n## {name}: {normals} different good images; tightest promise {tightest_promise(normals):.1%}\n")
        heads = [f"recall at {100 * promise:g} %" for promise in PROMISES]
        heads += [f"false rejects at {100 * promise:g} %" for promise in PROMISES]
        print(f"| bank | top | seeds | AUROC | {' | '.join(heads)} | AU-PRO, seed 0 |")
        print("|---" * (5 + len(heads)) + "|")
        print("\n".join(rows), flush=True)


if __name__ == "__main__":
    main()
