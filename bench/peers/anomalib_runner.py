"""anomalib's PatchCore with a given bank and given weights, timed on request; runs in the peers' environment.

Takes a job folder: job.json (model, layers, mean, deviation, side, neighbours, threads, batches), bank.npy (M, C)
float32, frames.npy (N, H, W, 3) uint8 and weights.safetensors in timm's names. A line of standard input is a request
{"engine": "torch" | "openvino", "batch": int, "frames": int}; every answer is one line of JSON with `seconds` for
that many frames and their `scores`, or `error`. The first line says which engines are ready.

Both engines are anomalib's own: the Lightning model is exported by `to_torch` and `to_openvino` and loaded by
`TorchInferencer` and `OpenVINOInferencer`, pre- and post-processor included.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

# TorchInferencer unpickles the model that this very process has just written.
os.environ["TRUST_REMOTE_CODE"] = "1"

import numpy as np
import numpy.typing as npt
import torch
from anomalib.deploy import OpenVINOInferencer, TorchInferencer
from anomalib.models import Patchcore
from anomalib.pre_processing import PreProcessor
from safetensors.torch import load_file
from torchvision.transforms.v2 import Compose, Normalize, Resize

Frames = npt.NDArray[np.uint8]
Scorer = Callable[[Frames], npt.NDArray[np.float32]]


def build(folder: Path, job: dict[str, Any]) -> Patchcore:
    """Make anomalib's model with the job's weights and bank."""
    side = job["side"]
    transform = Compose(
        [
            Resize((side, side), antialias=True),
            Normalize(mean=[value / 255 for value in job["mean"]], std=[value / 255 for value in job["deviation"]]),
        ]
    )
    model = Patchcore(
        backbone=job["model"],
        layers=job["layers"],
        pre_trained=False,
        num_neighbors=job["neighbours"],
        pre_processor=PreProcessor(transform),
        evaluator=False,
        visualizer=False,
    )
    network = model.model.feature_extractor.feature_extractor
    # timm keeps the blocks behind the last level of an EfficientNet; their weights change no feature.
    unexpected = network.load_state_dict(load_file(folder / "weights.safetensors"), strict=False).unexpected_keys
    if unexpected:
        raise ValueError(f"anomalib's {job['model']} has no tensors {unexpected[:3]}")
    model.model.memory_bank = torch.from_numpy(np.load(folder / "bank.npy"))
    return model.eval()


def torch_scorer(model: Patchcore, folder: Path) -> Scorer:
    """Return anomalib's TorchInferencer; several frames go in as one tensor."""
    inferencer = TorchInferencer(model.to_torch(folder), device="cpu")

    def score(frames: Frames) -> npt.NDArray[np.float32]:
        if len(frames) == 1:
            return np.asarray(inferencer.predict(frames[0]).pred_score.numpy(), dtype=np.float32).reshape(-1)
        pixels = torch.from_numpy(frames).permute(0, 3, 1, 2).float() / 255
        return np.asarray(inferencer.predict(pixels).pred_score.numpy(), dtype=np.float32).reshape(-1)

    return score


def openvino_scorer(model: Patchcore, folder: Path, frames: Frames, job: dict[str, Any]) -> Scorer:
    """Return anomalib's OpenVINOInferencer on its own exports, one per batch size, for frames of one size.

    The export that 2.7.0 makes by default takes exactly two frames, although it asks for any number: hence
    `dynamic_shapes` with the size that will be scored.
    """
    config = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": job["threads"]}
    inferencers: dict[int, OpenVINOInferencer] = {}
    for size in job["batches"]:
        path = model.to_openvino(
            folder,
            model_file_name=f"batch-{size}",
            input_size=frames.shape[1:3],
            onnx_kwargs={"dynamic_axes": None, "dynamic_shapes": ({0: size},)},
        )
        inferencers[size] = OpenVINOInferencer(path, device="CPU", config=config)

    def score(batch: Frames) -> npt.NDArray[np.float32]:
        found = inferencers[len(batch)].predict(batch[0] if len(batch) == 1 else batch)
        return np.asarray(found.pred_score, dtype=np.float32).reshape(-1)

    return score


def sentence(error: Exception) -> str:
    """Return an error as one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"


def main() -> None:
    """Answer requests until standard input ends."""
    folder = Path(sys.argv[1])
    job = json.loads((folder / "job.json").read_text())
    frames = np.load(folder / "frames.npy")
    torch.set_num_threads(job["threads"])
    # What libraries print must not mix with the answers.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    # The exporter leaves its cache in the working folder.
    os.chdir(folder)
    model = build(folder, job)
    engines: dict[str, Scorer] = {}
    failures: dict[str, str] = {}
    try:
        engines["torch"] = torch_scorer(model, folder)
        engines["torch"](frames[:1])
    except Exception as error:  # noqa: BLE001 - whatever fails in the peer is reported, and the rest still runs
        failures["torch"] = sentence(error)
    try:
        engines["openvino"] = openvino_scorer(model, folder, frames, job)
        engines["openvino"](frames[:1])
    except Exception as error:  # noqa: BLE001 - whatever fails in the peer is its answer
        failures["openvino"] = sentence(error)
    answers.write(json.dumps({"ready": sorted(set(engines) - set(failures)), "failed": failures}) + "\n")
    for line in sys.stdin:
        request = json.loads(line)
        scorer, size = engines[request["engine"]], request["batch"]
        scores: list[float] = []
        start = time.perf_counter()
        try:
            for first in range(0, request["frames"], size):
                scores += scorer(frames[first : min(first + size, request["frames"])]).tolist()
        except Exception as error:  # noqa: BLE001 - whatever fails in the peer is its answer
            answers.write(json.dumps({"error": sentence(error)}) + "\n")
            continue
        answers.write(json.dumps({"seconds": time.perf_counter() - start, "scores": scores}) + "\n")


if __name__ == "__main__":
    main()
