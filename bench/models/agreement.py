"""How far scores and maps of real images move: by arithmetic, company in the batch, engine, and search.

The reference is the plain definition in float64: network, averages, all distances, eq. 7. Differences are the largest
over all images: of a score relative to itself, and of a map relative to its highest value.
"""

import argparse
import copy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from bench.real_images import Image, data_folder, read_all, weights_of
from neverblink.trainer.datasets.images import good_images, labelled_images
from neverblink.vision.anomaly_map import smoothing_matrix
from neverblink.vision.backbones import load_backbone
from neverblink.vision.coreset import greedy_k_center, project
from neverblink.vision.embedding import PatchEmbedding
from neverblink.vision.inspection import Anomaly
from neverblink.vision.neighbours import neighbour_table
from neverblink.vision.network_names import DEFAULT_MODEL
from neverblink.vision.patchcore import FeatureExtractor, PatchCore
from neverblink.vision.preprocess import Preprocess

BACKBONES = (DEFAULT_MODEL, "resnet18")
SIDE, NORMALS, TESTED, NEIGHBOURS, SMOOTHING = 256, 40, 64, 9, 4.0

Doubles = npt.NDArray[np.float64]


def reference(features: Tensor, bank: Tensor) -> tuple[float, Doubles]:
    """Score (h, w, C) float64 features against an (M, C) float64 bank by the definitions."""
    high, wide, channels = features.shape
    distances = torch.cdist(features.view(-1, channels), bank, compute_mode="donot_use_mm_for_euclid_dist")
    nearest = distances.amin(dim=1)
    top = int(nearest.argmax())
    owner = bank[distances[top].argmin()]
    company = torch.cdist(owner[None], bank, compute_mode="donot_use_mm_for_euclid_dist")[0].topk(
        NEIGHBOURS, largest=False
    )
    weight = 1 - torch.softmax(distances[top][company.indices], dim=0)[0]
    rows, columns = (torch.from_numpy(smoothing_matrix(n, SIDE, SMOOTHING)) for n in (high, wide))
    return float(nearest[top] * weight), (rows @ nearest.view(high, wide) @ columns.T).numpy()


def furthest(found: list[Anomaly], wanted: list[tuple[float, Doubles]]) -> tuple[float, float]:
    """Return the largest difference of a score and of a map."""
    scores = max(abs(one.score / score - 1) for one, (score, _) in zip(found, wanted, strict=True))
    maps = max(np.abs(one.anomaly_map - grid).max() / grid.max() for one, (_, grid) in zip(found, wanted, strict=True))
    return scores, float(maps)


def as_wanted(anomalies: list[Anomaly]) -> list[tuple[float, Doubles]]:
    """Return anomalies as what others are compared with."""
    return [(one.score, one.anomaly_map.astype(np.float64)) for one in anomalies]


def in_batches(score: Callable[[list[Image]], list[Anomaly]], images: list[Image], size: int) -> list[Anomaly]:
    """Score images some at a time."""
    return [one for start in range(0, len(images), size) for one in score(images[start : start + size])]


def measure(model: str, data: Path) -> None:
    """Print one backbone's rows."""
    backbone = load_backbone(model, weights=weights_of(model, data), preprocess=Preprocess(resize=SIDE))
    engines = {name: FeatureExtractor(copy.deepcopy(backbone), engine=name) for name in ("openvino", "torch")}
    fast = engines["openvino"]
    vectors = torch.cat([fast.extract([one]) for one in read_all(good_images(data / "magnetic-tile")[:NORMALS])])
    vectors = vectors.flatten(0, 2)
    bank = vectors[greedy_k_center(project(vectors, 64, seed=0), len(vectors) // 20)]
    table = neighbour_table(bank, NEIGHBOURS)
    tested = labelled_images(data / "magnetic-tile")
    images = read_all([image.path for image in tested[:: max(1, len(tested) // TESTED)]])
    searches = {
        name: PatchCore(bank, neighbours=table, preprocess=fast.spec.preprocess, smoothing=SMOOTHING, search=name)
        for name in ("gemm", "faiss", "pruned", "half")
    }

    def score(engine: str, search: str) -> Callable[[list[Image]], list[Anomaly]]:
        return lambda some: searches[search].score(engines[engine].extract(some))

    embedding = PatchEmbedding(copy.deepcopy(backbone)).double()
    embedding.precision = torch.float64
    with torch.inference_mode():
        doubles = [embedding(torch.from_numpy(fast.prepare(image))[None])[0].double() for image in images]
        defined = [reference(one, bank.double()) for one in doubles]
    alone = in_batches(score("openvino", "gemm"), images, 1)
    rows = {"float64 by definition, OpenVINO and matrix product": furthest(alone, defined)}
    for size in (2, 7, 32):
        together = in_batches(score("openvino", "gemm"), images, size)
        rows[f"one image alone, batches of {size}"] = furthest(together, as_wanted(alone))
    plain = in_batches(score("torch", "gemm"), images, 1)
    rows["OpenVINO, PyTorch"] = furthest(plain, as_wanted(alone))
    for search in ("faiss", "pruned", "half"):
        rows[f"matrix product, {search}"] = furthest(in_batches(score("openvino", search), images, 8), as_wanted(alone))
    print(f"\n{model}, {len(images)} images, bank {bank.shape[0]} × {bank.shape[1]}\n")
    print("| between | score | map |\n|---|---|---|")
    for name, (scores, maps) in rows.items():
        print(f"| {name} | {scores:.1e} | {maps:.1e} |", flush=True)


def main() -> None:
    """Print a table for each backbone."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="folder of the data sets; default NEVERBLINK_DATA")
    parser.add_argument("--backbone", nargs="+", default=list(BACKBONES), help="timm names")
    given = parser.parse_args()
    data = data_folder(parser, given.data)
    for model in given.backbone:
        measure(model, data)


if __name__ == "__main__":
    main()
