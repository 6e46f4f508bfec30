"""Milliseconds an image of a U-Net, ours against a tutorial's, in one run and in turn; and what training costs.

The tutorial's network runs twice: eagerly, as the tutorial does it, and on our engine, so that what the engine
gains and what a smaller network gains are told apart. All get the same prepared bytes and return probabilities
as numpy; resizing is no part of the time. Weights are random: they change no time. Figures are medians.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

import neverblink  # before torch: says how OpenMP waits, to all methods alike  # noqa: F401

# isort: split
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from neverblink.vision.engines import open_engine
from neverblink.vision.image_network import ImageNetwork
from neverblink.vision.losses import LossSettings, segmentation_loss
from neverblink.vision.preprocess import Preprocess
from neverblink.vision.segmenter import Segmenter
from neverblink.vision.unet import Unet, spec_for

TUTORIAL = "tutorial"
TRAINED = (("plain", 16), ("plain", 32), ("tf_efficientnet_lite0", 16), ("resnet18", 16))
"""Encoder and width of the networks whose training is timed."""

TRAINED_SIDE = 256
PAUSE_S = 0.3
"""OpenMP threads of an engine that has just worked spin for 0.2 s; the next must not pay for that."""

Frames = npt.NDArray[np.uint8]


class TutorialUnet(nn.Module):
    """Four levels from 64 channels, transposed convolutions upwards, one logit: (N, 3, H, W) → (N, 1, H, W)."""

    def __init__(self, base: int = 64, levels: int = 4) -> None:
        super().__init__()
        channels = [base << level for level in range(levels + 1)]
        self.down = nn.ModuleList(
            _double(before, after) for before, after in zip([3, *channels[:-1]], channels, strict=True)
        )
        steps = list(zip(channels[:0:-1], channels[-2::-1], strict=True))
        self.enlarge = nn.ModuleList(nn.ConvTranspose2d(coarse, fine, 2, stride=2) for coarse, fine in steps)
        self.up = nn.ModuleList(_double(coarse, fine) for coarse, fine in steps)
        self.head = nn.Conv2d(base, 1, 1)

    def forward(self, pixels: Tensor) -> Tensor:
        """Return the logits."""
        skips = [self.down[0](pixels)]
        for block in self.down[1:]:
            skips.append(block(nn.functional.max_pool2d(skips[-1], 2)))
        features = skips.pop()
        for enlarge, block in zip(self.enlarge, self.up, strict=True):
            features = block(torch.cat([skips.pop(), enlarge(features)], dim=1))
        logits: Tensor = self.head(features)
        return logits


def _double(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, after, 3, padding=1),
        nn.BatchNorm2d(after),
        nn.ReLU(inplace=True),
        nn.Conv2d(after, after, 3, padding=1),
        nn.BatchNorm2d(after),
        nn.ReLU(inplace=True),
    )


class Tutorial(ImageNetwork):
    """The tutorial's network as engines take it: (N, H, W, 3) uint8 RGB → (N, 1, H, W) float32 probabilities."""

    def __init__(self) -> None:
        super().__init__(TutorialUnet(), (0, 0, 0), (255, 255, 255))

    def forward(self, images: Tensor) -> Tensor:
        """Return the probabilities."""
        return torch.sigmoid(self.network(self.normalised(images)).float())


@dataclass(frozen=True)
class Candidate:
    """A network by name: `eager` gives probabilities as a tutorial gets them, `engine` opens ours for it.

    `module` is the network with its normalisation.
    """

    name: str
    module: nn.Module
    network: nn.Module
    eager: Callable[[Tensor], Tensor]
    engine: Callable[[], Callable[[Frames], object]]


def tutorial(side: int, device: str) -> Candidate:
    """Return the tutorial's."""
    module = Tutorial().eval()

    def engine() -> Callable[[Frames], object]:
        opened = open_engine("auto", module, side=side, device=device)
        return lambda frames: opened.embed(torch.from_numpy(frames)).cpu().numpy()

    return Candidate(TUTORIAL, module, module.network, module, engine)


def ours(encoder: str, width: int, classes: int, side: int, device: str) -> Candidate:
    """Return one of ours."""
    unet = Unet(spec_for(encoder, names_of(classes), width=width, preprocess=Preprocess(resize=side))).eval()

    def engine() -> Callable[[Frames], object]:
        segmenter = Segmenter(unet, device=device)
        return lambda frames: segmenter.segment(list(frames))

    return Candidate(
        f"{encoder}, width {width}", unet, unet.network, lambda images: torch.sigmoid(unet(images)), engine
    )


def names_of(classes: int) -> tuple[str, ...]:
    """Return as many defect types."""
    return tuple(f"type-{index}" for index in range(classes))


def speed(side: int, given: argparse.Namespace) -> None:
    """Time every network eagerly and on our engine, at every batch size in turn, and print the table."""
    frames = frames_of(max(given.batches), side)
    candidates = [
        tutorial(side, given.device),
        *(ours(encoder, given.width, given.classes, side, given.device) for encoder in given.encoder),
    ]
    methods: dict[tuple[str, str], Callable[[Frames], object]] = {}
    for candidate in candidates:
        # The engine first: it folds a copy that is still on the CPU.
        methods[candidate.name, "our engine"] = candidate.engine()
        methods[candidate.name, "eager"] = eagerly(candidate, given.device)
    taken: dict[tuple[tuple[str, str], int], list[float]] = {}
    for method in methods.values():
        for size in given.batches:
            method(frames[:size])  # warms up
    for _ in range(given.rounds):
        for size in given.batches:
            for key, method in methods.items():
                time.sleep(PAUSE_S)
                start = time.perf_counter()
                method(frames[:size])
                taken.setdefault((key, size), []).append((time.perf_counter() - start) / size)
    print(f"\n{side} px, {where(given)}, medians of {given.rounds} rounds\n")
    print(f"| network | run | {' | '.join(f'ms/image at {n} | tutorial × at {n}' for n in given.batches)} |")
    print("|---" * (2 + 2 * len(given.batches)) + "|")
    for name, run in methods:
        cells = []
        for size in given.batches:
            mine, theirs = taken[(name, run), size], taken[(TUTORIAL, "eager"), size]
            # Rounds are compared with their own neighbours in time, so a slow minute cancels out.
            ratio = median(slow / fast for slow, fast in zip(theirs, mine, strict=True))
            cells.append(f"{1000 * median(mine):.3g} | {ratio:.2f}")
        print(f"| {name} | {run} | {' | '.join(cells)} |", flush=True)


def where(given: argparse.Namespace) -> str:
    """Say what it runs on."""
    return torch.cuda.get_device_name() if given.device.startswith("cuda") else f"{given.threads} threads"


def eagerly(candidate: Candidate, device: str) -> Callable[[Frames], object]:
    """Run a module as it is."""
    candidate.module.to(device)

    @torch.inference_mode()
    def method(frames: Frames) -> object:
        return candidate.eager(torch.from_numpy(frames).to(device)).cpu().numpy()

    return method


def training(given: argparse.Namespace) -> None:
    """Time forward, loss and backward in turn, and print the table with sizes and multiplications."""
    side, size = TRAINED_SIDE, given.train_batch
    candidates = [
        tutorial(side, given.device),
        *(ours(encoder, width, given.classes, side, given.device) for encoder, width in TRAINED),
    ]
    random = np.random.default_rng(0)
    pixels = torch.from_numpy(random.standard_normal((size, 3, side, side), dtype=np.float32)).to(given.device)
    networks = {candidate.name: candidate.network.train().to(given.device) for candidate in candidates}
    taken: dict[str, list[float]] = {}
    for counted in range(-1, given.rounds):  # the first round warms up
        for name, network in networks.items():
            time.sleep(PAUSE_S)
            start = time.perf_counter()
            logits = network(pixels)
            loss = segmentation_loss(logits, torch.zeros_like(logits), LossSettings())
            loss.backward()  # type: ignore[no-untyped-call]
            if given.device != "cpu":
                torch.cuda.synchronize()
            if counted >= 0:
                taken.setdefault(name, []).append((time.perf_counter() - start) / size)
            network.zero_grad()
    print(f"\ntraining, {side} px, batch {size}, {where(given)}, medians of {given.rounds} rounds\n")
    print("| network | parameters | GMAC an image | forward and backward, ms/image |")
    print("|---" * 4 + "|")
    for name, network in networks.items():
        parameters = sum(weight.numel() for weight in network.parameters()) / 1e6
        macs = multiplications(network.eval(), pixels[:1]) / 1e9
        print(f"| {name} | {parameters:.2f} M | {macs:.2f} | {1000 * median(taken[name]):.3g} |", flush=True)


@torch.inference_mode()
def multiplications(network: nn.Module, pixels: Tensor) -> int:
    """Return the multiplications of all convolutions in one forward pass."""
    counts: list[int] = []

    def count(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        weight = module.get_parameter("weight")
        # A transposed convolution's weight meets every input place, an ordinary one's every output place.
        places = inputs[0] if isinstance(module, nn.ConvTranspose2d) else output
        counts.append(weight.numel() * places.shape[-2] * places.shape[-1])

    convolutions = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]
    handles = [module.register_forward_hook(count) for module in convolutions]
    network(pixels)
    for handle in handles:
        handle.remove()
    return sum(counts)


def frames_of(count: int, side: int) -> Frames:
    """Return (count, side, side, 3) uint8 noise."""
    return np.random.default_rng(0).integers(0, 256, (count, side, side, 3), dtype=np.uint8)


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--encoder", nargs="+", default=["plain", "tf_efficientnet_lite0"], help="plain or timm names")
    parser.add_argument("--width", type=int, default=16, help="channels of the finest level")
    parser.add_argument("--classes", type=int, default=1, help="logit channels of ours; the tutorial has one")
    parser.add_argument("--size", type=int, nargs="+", default=[256, 512], help="input sides in pixels")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N")
    parser.add_argument("--train-batch", type=int, default=4, help="images of a training step")
    parser.add_argument("--skip", choices=["speed", "training"], help="leave one of the two parts out")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    torch.manual_seed(0)
    if given.skip != "speed":
        for side in given.size:
            speed(side, given)
    if given.skip != "training":
        training(given)


if __name__ == "__main__":
    main()
