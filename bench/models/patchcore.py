"""Images a second of PatchCore, ours against a tutorial's loop and anomalib, in one run and in turn.

Every method gets the same decoded frames, the same weights and the same memory bank, and returns a score for each
frame; resizing is part of the time. The peers make a map of every frame with it. Ours makes those that are asked for,
which on a line are few; "all maps" makes every one. Rounds are interleaved, so that what else the machine does
meets all methods alike; figures are medians. Where the peers' environment is missing their columns say so.
"""

import argparse
import contextlib
import copy
import inspect
import json
import os
import subprocess
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from types import TracebackType
from typing import IO, Any, Self, cast

import neverblink  # before torch: says how OpenMP waits, to all methods alike  # noqa: F401

# isort: split
import cv2
import numpy as np
import numpy.typing as npt
import openvino
import timm
import torch
from safetensors.torch import save_file
from sklearn.metrics import roc_auc_score
from torch import Tensor

from bench.models.tutorial import TutorialPatchCore
from bench.real_images import Image, data_folder, read_all, weights_of
from neverblink.trainer.datasets.images import good_images, labelled_images
from neverblink.vision.backbones import Backbone, load_backbone
from neverblink.vision.coreset import greedy_k_center, project
from neverblink.vision.embedding import PatchEmbedding
from neverblink.vision.engines import quantise
from neverblink.vision.errors import VisionError
from neverblink.vision.neighbours import neighbour_table
from neverblink.vision.network_names import DEFAULT_MODEL, EngineName
from neverblink.vision.patchcore import FeatureExtractor, PatchCore
from neverblink.vision.preprocess import Preprocess

PEERS = Path(__file__).parents[1] / "peers"
OURS, ALL_MAPS, FEATURES, NETWORK = "ours", "ours, all maps", "our features", "network alone"
OURS_BY: dict[str, EngineName] = {"ours, bf16": "openvino-bf16", "ours, int8": "openvino-int8"}
"""Ours on engines whose features differ: each with a bank of its own, made by that engine."""

TUTORIAL, ANOMALIB_TORCH, ANOMALIB_OPENVINO = "tutorial", "anomalib torch", "anomalib OpenVINO"
PEER_ENGINES = {"torch": ANOMALIB_TORCH, "openvino": ANOMALIB_OPENVINO}
METHODS = (OURS, ALL_MAPS, *OURS_BY, TUTORIAL, ANOMALIB_TORCH, ANOMALIB_OPENVINO, FEATURES, NETWORK)
GOALS = {TUTORIAL: 10.0, ANOMALIB_TORCH: 6.0, ANOMALIB_OPENVINO: 2.0, NETWORK: 0.8}
"""How many times a method's images a second ours should reach."""

FRAME_SIDE = 320
"""A camera's frames have one size; the tiles, about 270 × 324 and all different, are resized to it beforehand."""

PROJECTION = 64
QUANTISED_WITH = 128
PAUSE_S = 0.3
"""OpenMP threads of the process that has just worked spin for 0.2 s; the next must not pay for that."""

Floats = npt.NDArray[np.float32]
Frames = npt.NDArray[np.uint8]
Method = Callable[[int, int], tuple[float, Floats]]
"""Deals with the first so many frames at a batch size: seconds, and scores where it makes any."""


@dataclass(frozen=True)
class Job:
    """What every method gets: frames (N, S, S, 3) uint8, which of them are defective, and a bank (M, C).

    `normals` (K, S, S, 3) uint8 are the frames behind the bank, for the engines that need one of their own;
    `backbone` stays as it was loaded: engines get a copy, because they alter the modules they are given.
    """

    backbone: Backbone
    bank: Floats
    normals: Frames
    frames: Frames
    defective: npt.NDArray[np.bool_]


class PeerError(Exception):
    """The peer's process refused a request or ended."""


class Peer:
    """anomalib in its own environment and process; it works on request only."""

    def __init__(self, job: Job, folder: Path, given: argparse.Namespace) -> None:
        spec = job.backbone.spec
        names = cast(Any, job.backbone.network).feature_info.module_name()
        about = {
            "model": spec.model,
            "layers": names,
            "mean": spec.mean,
            "deviation": spec.deviation,
            "side": spec.preprocess.side,
            "neighbours": given.neighbours,
            "threads": given.threads,
            # The image AUROC is taken at batch 1.
            "batches": sorted({1, *given.batches}),
        }
        (folder / "job.json").write_text(json.dumps(about))
        np.save(folder / "bank.npy", job.bank)
        np.save(folder / "frames.npy", job.frames)
        save_file(
            {k: v.contiguous() for k, v in job.backbone.network.state_dict().items()}, folder / "weights.safetensors"
        )
        self._log = (folder / "anomalib.log").open("w")
        self._process = subprocess.Popen(
            [PEERS / ".venv/bin/python", PEERS / "anomalib_runner.py", folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": str(given.threads), "HF_HUB_OFFLINE": "1"},
        )
        hello = self._answer()
        self.ready: list[str] = hello["ready"]
        self.failed: dict[str, str] = hello["failed"]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        cast(IO[str], self._process.stdin).close()
        self._process.wait(timeout=60)
        self._log.close()

    def method(self, engine: str) -> Method:
        """Return an engine of the peer as a method; it raises PeerError with the peer's message."""

        def run(frames: int, batch: int) -> tuple[float, Floats]:
            pipe = cast(IO[str], self._process.stdin)
            pipe.write(json.dumps({"engine": engine, "batch": batch, "frames": frames}) + "\n")
            pipe.flush()
            answer = self._answer()
            if "error" in answer:
                raise PeerError(answer["error"])
            return answer["seconds"], np.array(answer["scores"], dtype=np.float32)

        return run

    def _answer(self) -> dict[str, Any]:
        line = cast(IO[str], self._process.stdout).readline()
        if not line:
            last = Path(self._log.name).read_text().strip().splitlines()[-1:]
            raise PeerError(f"its process ended with {self._process.wait()}: {' '.join(last)}")
        return cast(dict[str, Any], json.loads(line))


def backbone_of(model: str, side: int, weights: Path | None, folder: Path) -> Backbone:
    """Load a network; Wide-ResNets and others without weights get random ones, good for speed only."""
    if weights is None and model.startswith(("wide_resnet", "resnet")):
        network = timm.create_model(model, pretrained=False, features_only=True, out_indices=(2, 3))
        weights = folder / f"random-{model}.safetensors"
        save_file(network.state_dict(), weights)
    return load_backbone(model, weights=weights, preprocess=Preprocess(resize=side))


def extractor_of(backbone: Backbone, engine: str | None) -> FeatureExtractor:
    """Build our extractor; `engine` is handed over where the constructor knows such a choice."""
    known = inspect.signature(FeatureExtractor.__init__).parameters
    chosen = {"engine": engine} if engine is not None and "engine" in known else {}
    return FeatureExtractor(backbone, **cast(Any, chosen))


def batches(frames: Frames, size: int) -> list[list[Image]]:
    """Split frames into lists of at most `size`."""
    return [list(frames[start : start + size]) for start in range(0, len(frames), size)]


def features_of(extractor: FeatureExtractor, images: Sequence[Image]) -> Tensor:
    """Return (N, h, w, C) features, eight images at a time."""
    return torch.cat([extractor.extract(images[start : start + 8]).cpu() for start in range(0, len(images), 8)])


def spread(items: Sequence[Any], count: int) -> list[Any]:
    """Take `count` items evenly over a sequence."""
    return [items[round(i * (len(items) - 1) / max(1, count - 1))] for i in range(min(count, len(items)))]


def frames_of(paths: Sequence[Path]) -> Frames:
    """Decode images and resize them to one camera's size: (N, S, S, 3) uint8."""
    return np.stack([np.asarray(cv2.resize(image, (FRAME_SIDE, FRAME_SIDE)), np.uint8) for image in read_all(paths)])


def network_alone(backbone: Backbone, *, threads: int) -> Callable[[Floats], Any]:
    """Compile the bare network, normalised (N, 3, H, W) pixels to its levels, by OpenVINO: the floor of the time."""
    side = backbone.spec.preprocess.side
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # OpenVINO still converts by torch.jit.trace
        model = openvino.convert_model(backbone.network, example_input=torch.zeros(1, 3, side, side))
    settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.Core().compile_model(model, "CPU", settings)
    return lambda pixels: compiled(pixels, share_inputs=True, share_outputs=True)


def whole(
    extractor: FeatureExtractor, bank: Tensor, job: Job, given: argparse.Namespace, *, maps: bool = False
) -> Method:
    """Return ours from frame to score, with one engine and its bank; with `maps` every frame's map is made too."""
    table = neighbour_table(bank, given.neighbours) if given.neighbours else None
    model = PatchCore(bank, neighbours=table, preprocess=extractor.spec.preprocess)

    def ours(frames: int, size: int) -> list[float]:
        parts = batches(job.frames[:frames], size)
        found = (model.score(extractor.extract(batch), complete=maps) for batch in parts)
        return [anomaly.score for batch in found for anomaly in batch]

    return timed(ours)


def bank_of(extractor: FeatureExtractor, normals: Frames, ratio: float) -> Tensor:
    """Return an engine's bank (M, C) of its features of good frames."""
    vectors = features_of(extractor, list(normals)).flatten(0, 2)
    return vectors[greedy_k_center(project(vectors, PROJECTION, seed=0), round(ratio * len(vectors)))]


def other_engine(engine: EngineName, job: Job, given: argparse.Namespace) -> Method:
    """Return ours on an engine whose features need a bank of their own."""
    backbone = copy_of(job.backbone)
    network = None
    if engine == "openvino-int8":
        normals = [backbone.spec.preprocess.apply(frame) for frame in job.normals[:QUANTISED_WITH]]
        network = quantise(PatchEmbedding(backbone), side=backbone.spec.preprocess.side, images=normals)
        backbone = copy_of(job.backbone)
    extractor = FeatureExtractor(backbone, engine=engine, quantised=network)
    return whole(extractor, bank_of(extractor, job.normals, given.ratio), job, given)


def other_engines(job: Job, given: argparse.Namespace) -> tuple[dict[str, Method], dict[str, str]]:
    """Return ours on the engines that run here, and why others do not."""
    methods: dict[str, Method] = {}
    failures: dict[str, str] = {}
    for name in given.own_engines:
        try:
            methods[name] = other_engine(OURS_BY[name], job, given)
        except VisionError as error:
            failures[name] = str(error)
    return methods, failures


def own_methods(job: Job, given: argparse.Namespace) -> dict[str, Method]:
    """Return what runs in this process: ours whole and in parts, and the tutorial's loop."""
    extractor = extractor_of(copy_of(job.backbone), given.engine)
    tutorial = TutorialPatchCore(copy_of(job.backbone), job.bank, threads=given.threads)
    network = network_alone(copy_of(job.backbone), threads=given.threads)
    # The two partial ways begin where resizing ends, the bare network where normalising does.
    prepared = np.stack([extractor.prepare(frame) for frame in job.frames])
    pixels = np.ascontiguousarray(prepared.transpose(0, 3, 1, 2), dtype=np.float32) / np.float32(128) - np.float32(1)

    def by_tutorial(frames: int, _size: int) -> list[float]:
        return [tutorial.score(frame)[0] for frame in job.frames[:frames]]

    def features(frames: int, size: int) -> list[float]:
        for batch in batches(prepared[:frames], size):
            extractor.embed(batch)
        return []

    def alone(frames: int, size: int) -> list[float]:
        for start in range(0, frames, size):
            network(pixels[start : start + size])
        return []

    return {
        OURS: whole(extractor, torch.from_numpy(job.bank), job, given),
        ALL_MAPS: whole(extractor, torch.from_numpy(job.bank), job, given, maps=True),
        TUTORIAL: timed(by_tutorial),
        FEATURES: timed(features),
        NETWORK: timed(alone),
    }


def timed(run: Callable[[int, int], list[float]]) -> Method:
    """Put a clock around a run."""

    def method(frames: int, size: int) -> tuple[float, Floats]:
        start = time.perf_counter()
        scores = run(frames, size)
        return time.perf_counter() - start, np.array(scores, dtype=np.float32)

    return method


def measure(job: Job, given: argparse.Namespace, folder: Path) -> None:
    """Time all methods in turn at every batch size, and print the table."""
    methods = own_methods(job, given)
    others, failures = other_engines(job, given)
    methods |= others
    seconds: dict[tuple[str, int], list[float]] = {}
    auroc: dict[str, float] = {}
    with contextlib.ExitStack() as stack:
        if (PEERS / ".venv/bin/python").exists():
            peer = stack.enter_context(Peer(job, folder, given))
            methods |= {PEER_ENGINES[engine]: peer.method(engine) for engine in peer.ready}
            failures |= {PEER_ENGINES[engine]: message for engine, message in peer.failed.items()}
        else:
            failures |= dict.fromkeys(PEER_ENGINES.values(), "not installed")
        for name, method in methods.items():
            _, scores = method(len(job.frames), 1)  # also warms up
            if len(scores):
                auroc[name] = float(roc_auc_score(job.defective, scores))
        for size in [size for _ in range(given.rounds) for size in given.batches]:
            for name in [name for name in METHODS if name in methods and name not in failures]:
                time.sleep(PAUSE_S)
                try:
                    taken, _ = methods[name](given.frames, size)
                except PeerError as error:
                    failures[name] = f"batch {size}: {error}"
                    continue
                seconds.setdefault((name, size), []).append(taken)
    eq7 = f"eq. 7 over {given.neighbours}" if given.neighbours else "no eq. 7"
    print(f"\n{job.backbone.spec.model}, {given.size} px, bank {job.bank.shape[0]} × {job.bank.shape[1]}, {eq7}")
    print(f"{given.threads} threads, {given.frames} frames a round, medians of {given.rounds} rounds\n")
    speeds = " | ".join(f"images/s at {size}" for size in given.batches)
    ratios = " | ".join(f"ours × at {size}" for size in given.batches)
    print(f"| method | {speeds} | {ratios} | goal | image AUROC |")
    print("|---" * (2 * len(given.batches) + 3) + "|")
    for name in [name for name in METHODS if name in methods or name in failures]:
        if name in failures:
            print(f"| {name} | {failures[name]} |")
        else:
            print(row_of(name, given, seconds, auroc.get(name)), flush=True)


def row_of(
    name: str, given: argparse.Namespace, seconds: dict[tuple[str, int], list[float]], auroc: float | None
) -> str:
    """Return a method's line: images a second and our multiple of it, each at every batch size."""
    speeds, ratios = [], []
    for size in given.batches:
        taken = seconds[name, size]
        # Rounds are compared with their own neighbours in time, so a slow minute cancels out.
        pairs = zip(taken, seconds[OURS, size], strict=True)
        speeds.append(f"{given.frames / median(taken):.1f}")
        ratios.append(f"{median(theirs / ours for theirs, ours in pairs):.2f}" if name != OURS else "")
    goal = f"≥ {GOALS[name]:g}" if name in GOALS else ""
    return f"| {name} | {' | '.join(speeds + ratios)} | {goal} | {'' if auroc is None else f'{auroc:.4f}'} |"


def copy_of(backbone: Backbone) -> Backbone:
    """Return a network of its own with the same weights."""
    return Backbone(copy.deepcopy(backbone.network), backbone.spec)


def job_of(model: str, given: argparse.Namespace, images: Path, data: Path, folder: Path) -> Job:
    """Read frames and build the bank that all methods share."""
    backbone = backbone_of(model, given.size, given.weights or weights_of(model, data), folder)
    tested = labelled_images(images)
    good, bad = ([image.path for image in tested if (image.defect is None) is wanted] for wanted in (True, False))
    paths = [
        path
        for pair in zip(spread(good, given.tested // 2), spread(bad, given.tested // 2), strict=True)
        for path in pair
    ]
    normals = frames_of(spread(good_images(images), given.normals))
    bank = bank_of(extractor_of(copy_of(backbone), given.engine), normals, given.ratio)
    return Job(backbone, bank.numpy(), normals, frames_of(paths), np.array([False, True] * (len(paths) // 2)))


def main() -> None:
    """Run the comparison for every backbone asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="folder of the data sets; default NEVERBLINK_DATA")
    parser.add_argument("--images", type=Path, help="data set in MVTec layout; default DATA/magnetic-tile")
    parser.add_argument("--backbone", nargs="+", default=[DEFAULT_MODEL, "resnet18"], help="timm names")
    parser.add_argument("--weights", type=Path, help="safetensors file for a single --backbone")
    parser.add_argument("--size", type=int, default=256, help="input side in pixels")
    parser.add_argument("--ratio", type=float, default=0.01, help="share of all patches in the bank")
    parser.add_argument("--normals", type=int, default=200, help="good images behind the bank")
    parser.add_argument("--tested", type=int, default=120, help="frames for the image AUROC, half of them defective")
    parser.add_argument("--frames", type=int, default=32, help="frames of one timed round")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--neighbours", type=int, default=9, help="b of eq. 7 for ours and anomalib; 0: plain maximum")
    parser.add_argument(
        "--own-engines", nargs="*", choices=OURS_BY, default=list(OURS_BY), help="of ours, with banks of their own"
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--engine", help="engine of our extractor; default its own choice")
    given = parser.parse_args()
    if given.weights and len(given.backbone) > 1:
        parser.error("--weights fits one network: name it by --backbone")
    if any(given.frames % size for size in given.batches):
        parser.error(f"--frames {given.frames} is no multiple of every batch size {given.batches}")
    if given.frames > given.tested:
        parser.error(f"a round of {given.frames} frames needs as many tested ones; --tested is {given.tested}")
    data = data_folder(parser, given.data)
    torch.set_num_threads(given.threads)
    for model in given.backbone:
        with tempfile.TemporaryDirectory() as folder:
            job = job_of(model, given, given.images or data / "magnetic-tile", data, Path(folder))
            measure(job, given, Path(folder))


if __name__ == "__main__":
    main()
