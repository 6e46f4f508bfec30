"""From marked defects to a U-Net: which pixels belong to which defect, learnt until held-out images gain no more."""

import hashlib
import math
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import orjson
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from neverblink.errors import reason_of
from neverblink.job_life.progress import Progress
from neverblink.trainer.datasets.defect_images import DefectImage
from neverblink.trainer.datasets.images import file_digest
from neverblink.trainer.datasets.sample_store import BINARY, Sample, SampleStore
from neverblink.trainer.teaching.curriculum import Curriculum, Place
from neverblink.trainer.teaching.defect_division import Division, divide, is_synthetic
from neverblink.trainer.teaching.unet_checkpoint import Epoch, Run, load_run, save_run
from neverblink.trainer.teaching.unet_settings import WITHOUT_EFFECT, TrainError, TrainSettings
from neverblink.trainer.teaching.unet_thresholds import DiceCurve, alarm_bound, count_alarms, sure_levels
from neverblink.vision.alignment.aligner import Aligner
from neverblink.vision.decode import Image
from neverblink.vision.defect_augmentation import augment
from neverblink.vision.losses import segmentation_loss
from neverblink.vision.regions import evidence_of
from neverblink.vision.unet import Unet, new_unet, spec_for
from neverblink.vision.unet_spec import PLAIN, UnetSpec

Clock = Callable[[], float]
Floats = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

_GIB = 1024**3

_AHEAD = 2


@dataclass(frozen=True, slots=True)
class HeldOutClass:
    """A class on held-out images: how many show it, and Dice at its threshold, None where none does.

    `sure` is the evidence that a region needs, so that good parts stay quiet. `synthetic`: those that
    show it are drawn, as no real image could be held out.
    """

    name: str
    images: int
    dice: float | None
    threshold: float
    sure: float
    synthetic: bool


@dataclass(frozen=True, slots=True)
class HeldOut:
    """What the network does on `images` with a defect and `held_out_good` without, of which it marks `false_alarms`.

    The share of such parts is at most `false_alarm_bound` with 95 % confidence, None where no good image was held
    out. The same images chose epoch and thresholds: a test set will be a little worse.
    """

    classes: tuple[HeldOutClass, ...]
    images: int
    held_out_good: int
    false_alarms: int
    false_alarm_bound: float | None

    @property
    def mean_dice(self) -> float:
        """Return the mean over the classes that held-out images show."""
        return float(np.mean([found.dice for found in self.classes if found.dice is not None]))


@dataclass(frozen=True, slots=True)
class TrainedUnet:
    """The network of the best epoch in evaluation mode, its spec with thresholds, and how it came to be."""

    spec: UnetSpec
    unet: Unet
    history: tuple[Epoch, ...]
    best_epoch: int
    held_out: HeldOut
    division: Division


def train_unet(
    images: Sequence[DefectImage],
    good: Sequence[Path],
    settings: TrainSettings,
    progress: Progress = lambda *_: None,
    *,
    checkpoint: Path | None = None,
    resume: bool = False,
    on_epoch: Callable[[Epoch], None] = lambda _: None,
    clock: Clock = time.perf_counter,
    aligner: Aligner | None = None,
) -> TrainedUnet:
    """Train a U-Net on images whose defects are marked, and on good ones that it must leave alone.

    `checkpoint` is written after every epoch; with `resume` a run goes on from it, where it exists, and ends with
    the numbers of one that was never cut off. On a CPU the same images, settings and threads give the same
    weights. Raises VisionError: images or masks that cannot be used, none to learn from or to hold out, a
    checkpoint of another run, a loss that is no number. With an `aligner` it learns from upright parts.
    """
    room = int(settings.memory_gib * _GIB)
    store = SampleStore(settings.preprocess, settings.tiling, in_memory=room, aligner=aligner)
    division = divide(
        images,
        good,
        store,
        held_out=settings.held_out,
        seed=settings.seed,
        progress=lambda done, total: progress("reading images", done, total),
    )
    classes = BINARY if settings.classes == "binary" else division.types
    spec = _spec(classes, settings)
    with _threads(settings.threads):
        trainer = _Trainer(spec, division, store, settings)
        run = Run([], 0, {})
        identity = "" if checkpoint is None else _identity(division, settings)
        if checkpoint is not None and resume and checkpoint.is_file():
            run = load_run(checkpoint, trainer.unet, trainer.optimiser, identity)
        for number in range(len(run.history) + 1, settings.epochs + 1):
            if number - 1 - run.best_epoch >= settings.patience:
                break
            began = clock()
            loss, rate = trainer.learn(number, lambda done, total: progress("training", done, total))
            dice = trainer.dice()
            epoch = Epoch(number=number, loss=loss, dice=dice, learning_rate=rate, seconds=clock() - began)
            if not run.history or epoch.mean_dice > run.history[run.best_epoch - 1].mean_dice:
                run.best_epoch, run.best = number, _copied(trainer.unet)
            run.history.append(epoch)
            if checkpoint is not None:
                save_run(checkpoint, run, trainer.unet, trainer.optimiser, identity)
            on_epoch(epoch)
        trainer.unet.load_state_dict(run.best)
        held_out = trainer.held_out()
    levels = {
        "thresholds": tuple(found.threshold for found in held_out.classes),
        "sure": tuple(found.sure for found in held_out.classes),
    }
    unet = trainer.unet.to("cpu").eval().requires_grad_(requires_grad=False)
    unet.spec = spec = spec.model_copy(update=levels)
    return TrainedUnet(spec, unet, tuple(run.history), run.best_epoch, held_out, division)


def learning_rate(step: int, steps: int, warm_up: int) -> float:
    """Return the share of the highest learning rate at a step from 0: up in a line, down along a cosine.

    I. Loshchilov and F. Hutter, SGDR, ICLR 2017, without restarts.
    """
    if step < warm_up:
        return (step + 1) / (warm_up + 1)
    return (1 + math.cos(math.pi * (step - warm_up) / max(1, steps - warm_up))) / 2


class _Batch(NamedTuple):
    """`pixels` (n, side, side, 3) uint8, `target` (n, K, side, side) float32, `known` (n, K) bool."""

    pixels: Tensor
    target: Tensor
    known: Tensor


class _Trainer:
    """A network that learns an epoch at a time, and is tried on held-out images."""

    def __init__(self, spec: UnetSpec, division: Division, store: SampleStore, settings: TrainSettings) -> None:
        self._classes = spec.classes
        self._division = division
        self._store = store
        self._settings = settings
        self._device = torch.device(settings.device)
        self._curriculum = Curriculum(
            division,
            store,
            good_share=settings.good_share,
            balance=settings.balance,
            real_weight=settings.real_weight,
            at_least=settings.batch * settings.least_steps,
            seed=settings.seed,
        )
        self._steps = math.ceil(len(self._curriculum) / settings.batch)
        self.unet = new_unet(spec, seed=settings.seed, weights=settings.weights)
        self.unet.to(self._device).to(memory_format=torch.channels_last)
        self.optimiser = torch.optim.AdamW(_parameter_groups(self.unet, settings))
        # As many good images as defective ones try an epoch; only the thresholds are worth all of them.
        self._tried = (*division.held_out, *division.held_out_good[: len(division.held_out)])

    def learn(self, number: int, progress: Callable[[int, int], None]) -> tuple[float, float]:
        """Go through an epoch, counted from 1; returns the mean loss and the last step's learning rate.

        `progress` counts the steps of all epochs. Raises TrainError when the loss is no number any more.
        """
        settings = self._settings
        self.unet.train()
        losses: list[Tensor] = []
        rate = 0.0
        # A layer that drops something at random draws from a stream of its epoch, not of what ran before.
        with torch.random.fork_rng(devices=[self._device] if self._device.type == "cuda" else []):
            torch.manual_seed(int(np.random.SeedSequence([settings.seed, number]).generate_state(1)[0]))
            for done, batch in enumerate(self._batches(number)):
                step = (number - 1) * self._steps + done
                rate = learning_rate(step, settings.epochs * self._steps, settings.warm_up * self._steps)
                for group in self.optimiser.param_groups:
                    group["lr"] = rate * group["highest"]
                self.optimiser.zero_grad(set_to_none=True)
                loss = self._loss(batch)
                loss.backward()  # type: ignore[no-untyped-call]
                self.optimiser.step()
                losses.append(loss.detach())
                progress(step + 1, settings.epochs * self._steps)
        mean = float(torch.stack(losses).mean())
        if not math.isfinite(mean):
            raise TrainError(
                f"the loss is no number any more in epoch {number}: train with a lower learning rate than"
                f" {settings.learning_rate:g}"
            )
        return mean, rate * settings.learning_rate

    def dice(self) -> dict[str, float | None]:
        """Return Dice a class on held-out images, at the threshold that is best for it.

        The threshold is chosen there in the end, and while a batch norm's averages lag behind in the first epochs
        probabilities are ranked well long before any of them passes one half.
        """
        return {name: curve.highest() for name, curve in zip(self._classes, self._curves(), strict=True)}

    def held_out(self) -> HeldOut:
        """Choose the thresholds on held-out images, and return what comes of them."""
        curves = self._curves()
        thresholds = [curve.best() for curve in curves]
        good = self._good_evidence(thresholds)
        levels = sure_levels(good, self._defect_evidence(thresholds), self._settings.false_alarms)
        alarms = count_alarms(good, levels)
        return HeldOut(
            classes=tuple(
                self._held_out_class(name, curve.dice(threshold), threshold, sure)
                for name, curve, threshold, sure in zip(self._classes, curves, thresholds, levels, strict=True)
            ),
            images=len(self._division.held_out),
            held_out_good=len(good),
            false_alarms=alarms,
            false_alarm_bound=alarm_bound(alarms, len(good)),
        )

    def _held_out_class(self, name: str, dice: float | None, threshold: float, sure: float) -> HeldOutClass:
        own = [image for image in self._division.held_out if self._classes == BINARY or name in image.types]
        return HeldOutClass(name, len(own), dice, threshold, sure, bool(own) and all(map(is_synthetic, own)))

    def _loss(self, batch: _Batch) -> Tensor:
        pixels, target, known = (part.to(self._device) for part in batch)
        half = self._settings.amp and self._device.type == "cuda" and torch.cuda.is_bf16_supported()
        with torch.autocast(self._device.type, dtype=torch.bfloat16, enabled=half):
            logits = self.unet(pixels)
        return segmentation_loss(logits, target, self._settings.loss, known)

    def _batches(self, number: int) -> Iterator[_Batch]:
        """Yield the varied batches of an epoch, all of about one size; workers are at most two batches ahead."""
        places = list(enumerate(self._curriculum.epoch(number)))
        parts = [places[start :: self._steps] for start in range(self._steps)]
        if not self._settings.workers:
            for part in parts:
                yield _batch([self._varied(number, position, place) for position, place in part])
            return
        with ThreadPoolExecutor(self._settings.workers, thread_name_prefix="augment") as pool:
            ahead: deque[list[Future[_Varied]]] = deque()
            for part in parts:
                ahead.append([pool.submit(self._varied, number, position, place) for position, place in part])
                if len(ahead) > _AHEAD:
                    yield _batch([one.result() for one in ahead.popleft()])
            while ahead:
                yield _batch([one.result() for one in ahead.popleft()])

    def _varied(self, number: int, position: int, place: Place) -> "_Varied":
        sample = self._store.samples(place.image)[place.tile]
        masks, known = sample.targets(self._classes)
        # A stream for each input: the same whoever draws it, and when.
        random = np.random.default_rng([self._settings.seed, number, position])
        pixels, masks = augment(sample.pixels, masks, self._settings.augmentation, random)
        return _Varied(pixels, masks, known)

    def _curves(self) -> list[DiceCurve]:
        curves = [DiceCurve() for _ in self._classes]
        for _, sample, probabilities in self._seen(self._tried):
            masks, known = sample.targets(self._classes)
            for channel in np.flatnonzero(known):
                curves[channel].add(probabilities[channel], masks[channel])
        return curves

    def _good_evidence(self, thresholds: Sequence[float]) -> Floats:
        """Return (n, K): the most evidence of a region of each class in each held-out good image."""
        good = self._division.held_out_good
        most = np.zeros((len(good), len(self._classes)), dtype=np.float32)
        for index, _, probabilities in self._seen(good):
            for channel, plane in enumerate(probabilities):
                most[index, channel] = max(most[index, channel], evidence_of(plane, thresholds[channel])[1].max())
        return most

    def _defect_evidence(self, thresholds: Sequence[float]) -> list[Floats]:
        """Return, a class, the most evidence of a region on each held-out image's defect: (m,)."""
        most: list[list[float]] = [[] for _ in self._classes]
        for _, sample, probabilities in self._seen(self._division.held_out):
            masks, known = sample.targets(self._classes)
            for channel in np.flatnonzero(known & masks.any(axis=(1, 2))).tolist():
                labels, evidence = evidence_of(probabilities[channel], thresholds[channel])
                most[channel].append(float(evidence[labels[masks[channel]]].max()))
        return [np.array(own, dtype=np.float32) for own in most]

    def _seen(self, images: Sequence[DefectImage]) -> Iterator[tuple[int, Sample, Floats]]:
        """Yield an image's place, a sample of it and the (K, side, side) float32 probabilities there."""
        self.unet.eval()
        samples = ((index, sample) for index, image in enumerate(images) for sample in self._store.samples(image))
        while some := list(islice(samples, self._settings.batch)):
            pixels = torch.from_numpy(np.stack([sample.pixels for _, sample in some])).to(self._device)
            with torch.inference_mode():
                probabilities = torch.sigmoid(self.unet(pixels)).cpu().numpy()
            for (index, sample), planes in zip(some, probabilities, strict=True):
                yield index, sample, planes


class _Varied(NamedTuple):
    """A variant of a sample: (side, side, 3) uint8, (K, side, side) bool, (K,) bool."""

    pixels: Image
    masks: Mask
    known: Mask


def _batch(varied: Sequence[_Varied]) -> _Batch:
    pixels, masks, known = (np.stack(parts) for parts in zip(*varied, strict=True))
    return _Batch(torch.from_numpy(pixels), torch.from_numpy(masks).float(), torch.from_numpy(known))


def _spec(classes: tuple[str, ...], settings: TrainSettings) -> UnetSpec:
    try:
        return spec_for(
            settings.encoder,
            classes,
            preprocess=settings.preprocess,
            width=settings.width,
            depth=settings.depth,
            norm=settings.norm,
            activation=settings.activation,
        )
    except ValidationError as error:
        raise TrainError(reason_of(error.errors()[0])) from error


def _parameter_groups(unet: Unet, settings: TrainSettings) -> list[dict[str, object]]:
    """Divide the parameters by learning rate and decay: norms and biases are not drawn to zero."""
    pretrained = settings.encoder != PLAIN
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in unet.named_parameters():
        slow = pretrained and name.startswith("network.encoder.")
        highest = settings.learning_rate * (settings.encoder_rate if slow else 1)
        decay = settings.weight_decay if parameter.ndim > 1 else 0.0
        groups.setdefault((highest, decay), []).append(parameter)
    return [
        {"params": parameters, "highest": highest, "weight_decay": decay}
        for (highest, decay), parameters in groups.items()
    ]


def _copied(unet: Unet) -> dict[str, Tensor]:
    return {name: value.detach().cpu().clone() for name, value in unet.state_dict().items()}


def _identity(division: Division, settings: TrainSettings) -> str:
    """Return sha256 over what decides a run: settings, and every image and mask with the part it plays."""
    plain = settings.model_dump(mode="json", exclude=WITHOUT_EFFECT)
    digest = hashlib.sha256(orjson.dumps(plain, option=orjson.OPT_SORT_KEYS))
    for part in (division.defective, division.good, division.held_out, division.held_out_good):
        for image in part:
            marked = "" if image.mask is None else file_digest(image.mask)
            # Outlines are named only where there are some: runs that began without them go on.
            outlines = f" {image.outlines}" if image.outlines else ""
            digest.update(f"\n{file_digest(image.path)} {marked} {image.types} {image.boxes}{outlines}".encode())
        digest.update(b"\n")
    return "sha256:" + digest.hexdigest()


@contextmanager
def _threads(count: int | None) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
