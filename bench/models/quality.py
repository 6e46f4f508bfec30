"""Image and pixel AUROC on real images: which backbone, input size, crop and image score rank best.

Features are computed once per data set and variant and kept in a cache folder, results beside them, so that a
run can be interrupted and another seed or ratio costs a coreset and a search only.
"""

import argparse
import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Self

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from bench.real_images import data_folder, read_all, weights_of
from neverblink.trainer.datasets.images import LabelledImage, good_images, labelled_images
from neverblink.trainer.evaluation.scaled_masks import scaled_mask
from neverblink.vision.anomaly_map import smoothing_matrix
from neverblink.vision.backbones import load_backbone
from neverblink.vision.colour import Clahe
from neverblink.vision.coreset import greedy_k_center, project
from neverblink.vision.embedding import PatchEmbedding
from neverblink.vision.engines import quantise
from neverblink.vision.mask_file import read_mask
from neverblink.vision.neighbours import neighbour_index, neighbour_table
from neverblink.vision.patchcore import FeatureExtractor, PatchCore
from neverblink.vision.preprocess import Preprocess

DATA_SETS = ("magnetic-tile", "cookie")
VARIANTS = (
    "resnet18@256",
    "tf_efficientnet_lite0@256",
    "resnet18@320",
    "tf_efficientnet_lite0@320",
    "resnet18@256c224",
    "tf_efficientnet_lite0@256c224",
    "resnet18@256+clahe",
    "tf_efficientnet_lite0@256+clahe",
    "resnet18@256+int8",
    "tf_efficientnet_lite0@256+int8",
    "resnet18@256+bf16",
    "tf_efficientnet_lite0@256+bf16",
    "tf_efficientnet_lite1@256",
    "tf_efficientnet_lite2@256",
)
QUANTISED_WITH = 128
BATCH = 8
PROJECTION = 64
SMOOTHING = 4.0
NEIGHBOURS = 9
TOP = 10
PIXEL_SIDE = 256
"""Maps and masks are compared at this size, whatever the input size."""


@dataclass(frozen=True)
class Variant:
    """What the network sees, `model@resize` or `model@resizeccrop` in pixels; behind it `+clahe`, `+bf16`, `+int8`."""

    model: str
    resize: int
    crop: int | None
    more: frozenset[str]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a variant's name. Raises ArgumentTypeError."""
        found = re.fullmatch(r"(\w+)@(\d+)(?:c(\d+))?((?:\+clahe|\+bf16|\+int8)*)", text)
        if found is None:
            raise argparse.ArgumentTypeError(f"{text} is no variant; write resnet18@256 or resnet18@256c224+clahe")
        model, resize, crop, more = found.groups()
        return cls(model, int(resize), int(crop) if crop else None, frozenset(more.split("+")[1:]))

    def __str__(self) -> str:
        return (
            f"{self.model}@{self.resize}"
            + (f"c{self.crop}" if self.crop else "")
            + "".join(f"+{name}" for name in sorted(self.more))
        )

    @property
    def preprocess(self) -> Preprocess:
        """Return the policy the variant names."""
        return Preprocess(resize=self.resize, crop=self.crop, clahe=Clahe() if "clahe" in self.more else None)


@dataclass(frozen=True)
class Quality:
    """AUROC of images by four scores, and of pixels.

    `maximum` and `eq7` are the paper's; `top` is the mean distance of the ten most unusual patches and `peak` the
    highest value of the smoothed map: both ask for a defect of more than one patch.
    """

    maximum: float
    eq7: float
    top: float
    peak: float
    pixel: float


def features_of(name: str, part: str, paths: list[Path], variant: Variant, data: Path, cache: Path) -> Tensor:
    """Return (N, h, w, C) float32 features, from the cache when they are there."""
    file = cache / f"{name}-{variant}-{part}.npy"
    if not file.is_file():
        backbone = load_backbone(variant.model, weights=weights_of(variant.model, data), preprocess=variant.preprocess)
        extractor = FeatureExtractor(backbone, engine="openvino-bf16" if "bf16" in variant.more else "auto")
        if "int8" in variant.more:
            normals = [extractor.prepare(image) for image in read_all(good_images(data / name)[:QUANTISED_WITH])]
            network = quantise(PatchEmbedding(backbone), side=variant.preprocess.side, images=normals)
            extractor = FeatureExtractor(backbone, engine="openvino-int8", quantised=network)
        shape = (len(paths), *extractor.grid, extractor.dimension)
        unfinished = file.with_suffix(".part")
        store = np.lib.format.open_memmap(unfinished, mode="w+", dtype=np.float32, shape=shape)
        for start in range(0, len(paths), BATCH):
            images = read_all(paths[start : start + BATCH])
            store[start : start + BATCH] = extractor.extract(images).cpu().numpy()
        store.flush()
        unfinished.rename(file)
    return torch.from_numpy(np.load(file, mmap_mode="c"))


def truth_of(image: LabelledImage) -> npt.NDArray[np.bool_] | None:
    """Return the (256, 256) mask, all False for a good part, None where a defect has no mask or an empty one."""
    if image.defect is None:
        return np.zeros((PIXEL_SIDE, PIXEL_SIDE), dtype=np.bool_)
    if image.mask is None:
        return None
    small = scaled_mask(read_mask(image.mask), (PIXEL_SIDE, PIXEL_SIDE)).mask
    return small if small.any() else None


def auroc(good: npt.NDArray[np.float32], defective: npt.NDArray[np.float32]) -> float:
    """Return the share of (good, defective) pairs in the right order, ties counted by half."""
    ordered = np.sort(good)
    below = np.searchsorted(ordered, defective, side="left") + np.searchsorted(ordered, defective, side="right")
    return float(below.sum(dtype=np.float64) / 2 / len(good) / len(defective))


def choose_bank(train: Tensor, ratio: float, seed: int) -> Tensor:
    """Select the memory bank (M, C) of (N, h, w, C) features as `fit` does."""
    count, channels = len(train), train.shape[-1]
    projected = torch.cat([project(train[i].view(-1, channels), PROJECTION, seed=seed) for i in range(count)])
    chosen = greedy_k_center(projected, max(1, round(ratio * len(projected))), seed=seed)
    return train.flatten(0, 2)[chosen]


def measure(
    bank: Tensor,
    test: Tensor,
    tested: list[LabelledImage],
    truths: list[npt.NDArray[np.bool_] | None],
    variant: Variant,
) -> Quality:
    """Score every test image once; eq. 7 re-weights the most unusual patch of each."""
    _, high, wide, channels = test.shape
    index = neighbour_index(bank)
    weighted = PatchCore(bank, neighbours=neighbour_table(bank, NEIGHBOURS))
    side = variant.preprocess.side
    rows, columns = (torch.from_numpy(smoothing_matrix(n, side, SMOOTHING)).float() for n in (high, wide))
    scores: dict[str, list[float]] = {"maximum": [], "eq7": [], "top": [], "peak": []}
    good_pixels: list[npt.NDArray[np.float32]] = []
    bad_pixels: list[npt.NDArray[np.float32]] = []
    for features, truth in zip(test, truths, strict=True):
        patches = features.reshape(-1, channels)
        distances = index.nearest(patches).distance
        most = distances.topk(TOP)
        anomaly_map = variant.preprocess.uncrop((rows @ distances.view(high, wide) @ columns.T).numpy())
        scores["maximum"].append(float(most.values[0]))
        scores["eq7"].append(weighted.score(patches[most.indices[0]].view(1, 1, 1, channels))[0].score)
        scores["top"].append(float(most.values.mean()))
        scores["peak"].append(float(anomaly_map.max()))
        if truth is None:
            continue
        small = np.asarray(cv2.resize(anomaly_map, (PIXEL_SIDE, PIXEL_SIDE)), dtype=np.float32)
        good_pixels.append(small[~truth])
        bad_pixels.append(small[truth])
    defective = np.array([image.defect is not None for image in tested])
    by_score = {name: np.array(values, dtype=np.float32) for name, values in scores.items()}
    return Quality(
        **{name: auroc(values[~defective], values[defective]) for name, values in by_score.items()},
        pixel=auroc(np.concatenate(good_pixels), np.concatenate(bad_pixels)),
    )


def print_table(results: dict[str, dict[str, float]], variants: list[Variant], names: list[str], ratio: float) -> None:
    """Print medians over the seeds that were measured, one row per data set and variant, then the means."""
    print(f"\nmedians over seeds, bank {100 * ratio:g} % of all patches; worst seed in brackets\n")
    print("| data | variant | seeds | image AUROC: maximum | eq. 7 | mean of top 10 | peak of the map | pixel AUROC |")
    print("|---|---|---|---|---|---|---|---|")
    means: dict[str, list[list[float]]] = {}
    for name in names:
        for variant in variants:
            found = [row for key, row in results.items() if key.startswith(f"{name} {variant} {ratio:g} ")]
            if not found:
                continue
            middle = {column: median(row[column] for row in found) for column in found[0]}
            means.setdefault(str(variant), []).append(list(middle.values()))
            cells = (f"{value:.4f} ({min(row[column] for row in found):.4f})" for column, value in middle.items())
            print(f"| {name} | {variant} | {len(found)} | {' | '.join(cells)} |")
    for label, rows in means.items():
        if len(rows) == len(names) > 1:
            cells = (f"{sum(column) / len(column):.4f}" for column in zip(*rows, strict=True))
            print(f"| mean | {label} | | {' | '.join(cells)} |")


def main() -> None:
    """Measure what is not measured yet, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="folder of the data sets; default NEVERBLINK_DATA")
    parser.add_argument("--cache", type=Path, required=True, help="folder for features and results")
    parser.add_argument("--sets", nargs="+", default=list(DATA_SETS), choices=DATA_SETS)
    parser.add_argument("--variants", nargs="+", type=Variant.parse, default=[Variant.parse(v) for v in VARIANTS])
    parser.add_argument("--ratio", type=float, default=0.01)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--forget", action="store_true", help="delete a variant's features when it is done")
    given = parser.parse_args()
    data = data_folder(parser, given.data)
    torch.set_num_threads(given.threads)
    given.cache.mkdir(parents=True, exist_ok=True)
    for variant in given.variants:
        for name in given.sets:
            tested = labelled_images(data / name)
            for seed in range(given.seeds):
                file = given.cache / f"{name} {variant} {given.ratio:g} {seed}.json"
                if file.is_file():
                    continue
                train = features_of(name, "train", good_images(data / name), variant, data, given.cache)
                test = features_of(name, "test", [image.path for image in tested], variant, data, given.cache)
                bank = choose_bank(train, given.ratio, seed)
                found = measure(bank, test, tested, [truth_of(image) for image in tested], variant)
                file.write_text(json.dumps(asdict(found)))
                print(f"{file.stem}: {found}", flush=True)
            if given.forget:
                for part in ("train", "test"):
                    (given.cache / f"{name}-{variant}-{part}.npy").unlink(missing_ok=True)
    results = {file.stem: json.loads(file.read_text()) for file in sorted(given.cache.glob("*.json"))}
    print_table(results, given.variants, given.sets, given.ratio)


if __name__ == "__main__":
    main()
