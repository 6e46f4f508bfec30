"""What a GPU makes of it: agreement with the CPU, images a second, coreset, search, and ranking in half precision.

Methods take turns in every round; figures are medians. Nothing here needs OpenVINO or the peers' environment.
"""

import argparse
import copy
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import median

import neverblink  # before torch: says how OpenMP waits  # noqa: F401

# isort: split
import cv2
import numpy as np
import numpy.typing as npt
import timm
import torch
from safetensors.torch import save_file
from sklearn.metrics import roc_auc_score
from torch import Tensor

from bench.models.agreement import as_wanted, furthest, in_batches
from bench.models.coreset import patches
from bench.models.tutorial import TutorialPatchCore
from bench.real_images import Image, data_folder, read_all, weights_of
from neverblink.trainer.datasets.images import good_images, labelled_images
from neverblink.vision.augmentation import Lighting, brightened
from neverblink.vision.backbones import Backbone, load_backbone
from neverblink.vision.coreset import coverage_radius, greedy_k_center, project
from neverblink.vision.engines import open_engine
from neverblink.vision.image_network import ImageNetwork
from neverblink.vision.inspection import Anomaly
from neverblink.vision.neighbours import (
    AugmentedGemm,
    FaissFlat,
    HalfPrecisionGemm,
    NeighbourIndex,
    neighbour_table,
)
from neverblink.vision.network_names import EngineName
from neverblink.vision.patchcore import FeatureExtractor, PatchCore
from neverblink.vision.preprocess import Preprocess
from neverblink.vision.segmenter import Segmenter
from neverblink.vision.unet import Unet, spec_for

BACKBONES = ("tf_efficientnet_lite0", "resnet18")
LARGE = "wide_resnet50_2"
"""With random weights: its shapes cost what they cost."""

QUALITY: tuple[tuple[str, EngineName], ...] = (
    *((model, "torch") for model in (*BACKBONES, "tf_efficientnet_lite1", "tf_efficientnet_lite2")),
    *((model, "torch-cuda") for model in BACKBONES),
)
"""What is ranked, and by which engine: fp32, and half precision."""

SIDE, FRAME_SIDE, NEIGHBOURS, PROJECTION = 256, 320, 9, 64
NORMALS, TESTED = 200, 64
BATCHES = (1, 8, 32)
SEEDS = 3
DIMMED = 0.75
"""Of the light, in the test of what brightened copies in the bank are good for."""

Frames = npt.NDArray[np.uint8]


def backbone_of(model: str, data: Path) -> Backbone:
    """Load a network; one without weights at hand gets random ones, good for speed only."""
    weights = weights_of(model, data)
    if model == LARGE:
        weights = Path(f"/tmp/random-{model}.safetensors")
        save_file(timm.create_model(model, features_only=True, out_indices=(2, 3)).state_dict(), weights)
    return load_backbone(model, weights=weights, preprocess=Preprocess(resize=SIDE))


def extractor_of(backbone: Backbone, device: str, engine: EngineName) -> FeatureExtractor:
    """Open an engine on a copy: engines alter the modules they are given."""
    return FeatureExtractor(Backbone(copy.deepcopy(backbone.network), backbone.spec), device=device, engine=engine)


def features_of(extractor: FeatureExtractor, images: Sequence[Image]) -> Tensor:
    """Return (N, h, w, C) features on the extractor's device."""
    return torch.cat([extractor.extract(images[start : start + 32]) for start in range(0, len(images), 32)])


def bank_of(features: Tensor, ratio: float, seed: int = 0) -> Tensor:
    """Choose a bank (M, C) as `fit` does."""
    vectors = features.flatten(0, 2)
    return vectors[greedy_k_center(project(vectors, PROJECTION, seed=seed), round(ratio * len(vectors)), seed=seed)]


def tiles(data: Path, count: int) -> list[Image]:
    """Return frames of good tiles, all of a camera's size."""
    return [resized(image) for image in read_all(good_images(data / "magnetic-tile")[:count])]


def resized(image: Image) -> Image:
    """Bring a picture to a camera's size."""
    return np.asarray(cv2.resize(image, (FRAME_SIDE, FRAME_SIDE)), dtype=np.uint8)


def agreement(data: Path, device: str, _rounds: int) -> None:
    """Print how far scores, maps and probabilities of the GPU are from the CPU's."""
    images = tiles(data, NORMALS + TESTED)
    for model in BACKBONES:
        backbone = backbone_of(model, data)
        cpu = extractor_of(backbone, "cpu", "torch")
        plain, half = extractor_of(backbone, device, "torch"), extractor_of(backbone, device, "torch-cuda")
        bank = bank_of(features_of(cpu, images[:40]), 0.05)
        table = neighbour_table(bank, NEIGHBOURS)
        models = {
            place: PatchCore(bank.to(place), neighbours=table.to(place), preprocess=backbone.spec.preprocess)
            for place in ("cpu", device)
        }

        def score(extractor: FeatureExtractor, place: str, some: list[Image]) -> list[Anomaly]:
            return models[place].score(extractor.extract(some).to(place))  # noqa: B023

        by_cpu, by_plain, by_half = (
            partial(score, cpu, "cpu"),
            partial(score, plain, device),
            partial(score, half, device),
        )
        tested = images[NORMALS:]
        wanted = as_wanted(in_batches(by_cpu, tested, 1))
        rows = {
            "CPU, GPU in fp32": furthest(in_batches(by_plain, tested, 1), wanted),
            "features of the CPU, search on the GPU": furthest(
                in_batches(partial(score, cpu, device), tested, 1), wanted
            ),
            "CPU, GPU in half precision": furthest(in_batches(by_half, tested, 1), wanted),
        }
        alone = as_wanted(in_batches(by_half, tested, 1))
        for size in (2, 7, 32):
            rows[f"half precision, one image alone and batches of {size}"] = furthest(
                in_batches(by_half, tested, size), alone
            )
        alone = as_wanted(in_batches(by_plain, tested, 1))
        for size in (2, 7, 32):
            rows[f"fp32, one image alone and batches of {size}"] = furthest(in_batches(by_plain, tested, size), alone)
        print(f"\n{model}, {len(tested)} tiles, bank {bank.shape[0]} × {bank.shape[1]}\n")
        print("| between | score | map |\n|---|---|---|")
        for name, (scores, maps) in rows.items():
            print(f"| {name} | {scores:.1e} | {maps:.1e} |", flush=True)
    unet = Unet(spec_for("tf_efficientnet_lite0", ("a", "b"), width=16, preprocess=Preprocess(resize=SIDE))).eval()
    segmenters = {
        "cpu": Segmenter(unet, engine="torch"),
        "fp32": Segmenter(unet, device=device, engine="torch"),
        "half": Segmenter(unet, device=device, engine="torch-cuda"),
    }
    prepared = [segmenters["cpu"].prepare(image) for image in images[NORMALS : NORMALS + 32]]
    found = {name: segmenter.segment(prepared) for name, segmenter in segmenters.items()}
    for name in ("fp32", "half"):
        alone_ = np.concatenate([segmenters[name].segment([image]) for image in prepared])
        print(
            f"U-Net, {name}: probabilities {np.abs(found[name] - found['cpu']).max():.1e} from the CPU's,"
            f" {np.abs(found[name] - alone_).max():.1e} between one image and 32",
            flush=True,
        )


class _Bare(ImageNetwork):
    """A backbone alone: its deepest level, for which all of it must run."""

    def forward(self, images: Tensor) -> Tensor:
        """Return the deepest level."""
        found: Tensor = self.network(self.normalised(images))[-1]
        return found


def speed(data: Path, device: str, rounds: int) -> None:
    """Print images a second of ours, the tutorial's loop on the same GPU, and the bare network."""
    frames = tiles(data, NORMALS)
    for model, ratio in ((model, ratio) for ratio in (0.01, 0.1) for model in (*BACKBONES, LARGE)):
        if model == LARGE and ratio > 0.01:
            continue
        backbone = backbone_of(model, data)
        ours = extractor_of(backbone, device, "torch-cuda")
        bank = bank_of(features_of(ours, frames), ratio)
        table = neighbour_table(bank, NEIGHBOURS)
        scorer = PatchCore(bank, neighbours=table, preprocess=backbone.spec.preprocess)
        tutorial = TutorialPatchCore(
            Backbone(copy.deepcopy(backbone.network), backbone.spec),
            bank.cpu().numpy(),
            threads=torch.get_num_threads(),
            device=device,
        )
        bare = open_engine(
            "torch-cuda",
            _Bare(copy.deepcopy(backbone.network), backbone.spec.mean, backbone.spec.deviation),
            side=SIDE,
            device=device,
        )
        prepared = [ours.prepare(frame) for frame in frames]

        def whole(size: int) -> None:
            for start in range(0, len(frames), size):
                scorer.score(ours.extract(frames[start : start + size]))  # noqa: B023

        def after_resizing(size: int) -> None:
            for start in range(0, len(prepared), size):  # noqa: B023
                scorer.score(ours.embed(prepared[start : start + size]))  # noqa: B023

        def features(size: int) -> None:
            for start in range(0, len(prepared), size):  # noqa: B023
                ours.embed(prepared[start : start + size])  # noqa: B023

        def network(size: int) -> None:
            for start in range(0, len(prepared), size):  # noqa: B023
                bare.embed(torch.from_numpy(np.stack(prepared[start : start + size])))  # noqa: B023

        def by_tutorial(_size: int) -> None:
            for frame in frames:
                tutorial.score(frame)  # noqa: B023

        methods: dict[str, Callable[[int], None]] = {
            "ours": whole,
            "ours, resized elsewhere": after_resizing,
            "our features": features,
            "network alone": network,
            "tutorial": by_tutorial,
        }
        taken: dict[tuple[str, int], list[float]] = {}
        for counted in range(-1, rounds):  # the first round warms up
            for size in BATCHES:
                for name, run in methods.items():
                    torch.cuda.synchronize()
                    start = time.perf_counter()
                    run(size)
                    torch.cuda.synchronize()
                    if counted >= 0:
                        taken.setdefault((name, size), []).append(time.perf_counter() - start)
        print(f"\n{model}, bank {bank.shape[0]} × {bank.shape[1]}, {len(frames)} frames, medians of {rounds} rounds\n")
        print("| method | images/s at " + " | at ".join(map(str, BATCHES)) + " | ours × at 1 | at 8 | at 32 |")
        print("|---" * (1 + 2 * len(BATCHES)) + "|")
        for name in methods:
            rates = [f"{len(frames) / median(taken[name, size]):.0f}" for size in BATCHES]
            ratios = [f"{median(taken[name, size]) / median(taken['ours', size]):.2f}" for size in BATCHES]
            print(f"| {name} | {' | '.join(rates + ratios)} |", flush=True)


def coreset(_data: Path, device: str, rounds: int) -> None:
    """Print the seconds of the greedy choice of 156,800 × 128 on both devices, and whether it is the same choice."""
    points = patches()
    print(f"\n{points.shape[0]} × {points.shape[1]}, CPU with {torch.get_num_threads()} threads\n")
    print("| choice | CPU s | GPU s | radius on the GPU / CPU | same |\n|---|---|---|---|---|")
    for ratio in (0.01, 0.1):
        chosen: dict[str, Tensor] = {}
        seconds: dict[str, float] = {}
        for place in ("cpu", device):
            own = points.to(place)
            taken = []
            for _ in range(rounds):
                start = time.perf_counter()
                chosen[place] = greedy_k_center(own, round(ratio * len(points))).cpu()
                taken.append(time.perf_counter() - start)
            seconds[place] = median(taken)
        radii = [coverage_radius(points, chosen[place]) for place in ("cpu", device)]
        same = float((chosen["cpu"] == chosen[device]).float().mean())
        print(
            f"| {ratio:.0%} | {seconds['cpu']:.2f} | {seconds[device]:.2f} | {radii[1] / radii[0]:.4f} | {same:.3f} |"
        )


def search(data: Path, device: str, rounds: int) -> None:
    """Print ms of 32 images' search by bank size: on the GPU in two ways, and by FAISS on the CPU."""
    frames = tiles(data, NORMALS)
    print("\n| backbone | bank | matrix product ms | half precision first ms | FAISS on the CPU ms |")
    print("|---|---|---|---|---|")
    for model in BACKBONES:
        extractor = extractor_of(backbone_of(model, data), device, "torch-cuda")
        features = features_of(extractor, frames)
        order = bank_of(features, 0.2)
        queries = features[:32].flatten(0, 2)
        for size in (1000, 2000, 5000, 10_000, 20_000, 40_000):
            bank = order[:size].contiguous()
            full, half = (milliseconds(kind(bank), queries, rounds) for kind in (AugmentedGemm, HalfPrecisionGemm))
            few = queries[: 2 * 1024].cpu()
            cpu = 16 * milliseconds(FaissFlat(bank.cpu()), few, 1)
            print(f"| {model} | {size} × {bank.shape[1]} | {full:.2f} | {half:.2f} | {cpu:.0f} |", flush=True)


def milliseconds(index: NeighbourIndex, queries: Tensor, rounds: int) -> float:
    """Return the median time of a search, after one that warms up."""
    taken = []
    for counted in range(-1, rounds):
        torch.cuda.synchronize()
        start = time.perf_counter()
        index.distances(queries)
        torch.cuda.synchronize()
        if counted >= 0:
            taken.append(time.perf_counter() - start)
    return 1e3 * median(taken)


def quality(data: Path, device: str, _rounds: int) -> None:
    """Print image AUROC, median and worst of three seeds: precisions, backbones, and brightened copies in the bank."""
    print("\n| data | backbone | engine | bank | light of the test | maximum | eq. 7 | mean of top 10 |")
    print("|---|---|---|---|---|---|---|---|")
    for name in ("magnetic-tile", "cookie"):
        good = read_all(good_images(data / name))
        tested = labelled_images(data / name)
        defective = np.array([image.defect is not None for image in tested])
        pictures = read_all([image.path for image in tested])
        for model, engine in QUALITY:
            extractor = extractor_of(backbone_of(model, data), device, engine)
            train = features_of(extractor, good)
            tests = {"as fitted": features_of(extractor, pictures)}
            label = f"{name} | {model} | {engine}"
            if model in BACKBONES and engine == "torch":
                dimmed = [brightened(image, DIMMED) for image in pictures]
                tests[f"× {DIMMED}"] = features_of(extractor, dimmed)
            ranked(f"{label} | as they are", train, tests, defective)
            if len(tests) > 1:
                factors = [factor for factor in Lighting().brightness if factor != 1]
                others = [features_of(extractor, [brightened(image, f) for image in good]) for f in factors]
                train = torch.cat([train, *others])
                del others
                ranked(f"{label} | with × {', × '.join(map(str, factors))}", train, tests, defective)
            del train, tests
            torch.cuda.empty_cache()


def ranked(label: str, train: Tensor, tests: Mapping[str, Tensor], defective: npt.NDArray[np.bool_]) -> None:
    """Print a row a test: AUROC by three scores of banks of 1 % of the training images' patches."""
    found: dict[str, list[list[float]]] = {}
    for seed in range(SEEDS):
        bank = bank_of(train, 0.01, seed)
        table = neighbour_table(bank, NEIGHBOURS)
        scorers = (PatchCore(bank), PatchCore(bank, neighbours=table), PatchCore(bank, top=10))
        for light, test in tests.items():
            scores = [[one.score for some in torch.split(test, 32) for one in scorer.score(some)] for scorer in scorers]
            found.setdefault(light, []).append([float(roc_auc_score(defective, own)) for own in scores])
    for light, rows in found.items():
        cells = " | ".join(f"{median(column):.4f} ({min(column):.4f})" for column in zip(*rows, strict=True))
        print(f"| {label} | {light} | {cells} |", flush=True)


PARTS: dict[str, Callable[[Path, str, int], None]] = {
    "agreement": agreement,
    "speed": speed,
    "coreset": coreset,
    "search": search,
    "quality": quality,
}


def main() -> None:
    """Run the parts that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; default: all")
    parser.add_argument("--data", type=Path, help="folder of the data sets; default NEVERBLINK_DATA")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    given = parser.parse_args()
    data = data_folder(parser, given.data)
    unknown = [name for name in given.parts if name not in PARTS]
    if unknown:
        parser.error(f"there is no part {unknown[0]}; the parts are {', '.join(PARTS)}")
    if not torch.cuda.is_available():
        parser.error("this PyTorch sees no CUDA device: there is nothing to measure")
    torch.set_num_threads(given.threads)
    print(f"{torch.cuda.get_device_name()}, PyTorch {torch.__version__}, {given.threads} CPU threads")
    for name in given.parts or PARTS:
        start = time.perf_counter()
        PARTS[name](data, given.device, given.rounds)
        print(f"\n{name}: {time.perf_counter() - start:.0f} s", flush=True)


if __name__ == "__main__":
    main()
