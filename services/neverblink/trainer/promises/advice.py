"""What figures mean for whoever has to decide: whether a model is of any use, and the next command to give."""

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from neverblink.confidence.intervals import Interval
from neverblink.trainer.promises.promise_costs import PromiseCosts, PromiseRow, Source
from neverblink.vision.calibration import percent

GUESSING = 0.5
"""The AUROC of a coin."""


class Ranking(NamedTuple):
    """How well scores tell good parts from defective ones."""

    auroc: float
    interval: Interval
    good: int
    defective: int


class Step(NamedTuple):
    """What to do next, and the command that does it, None where it takes eyes and hands."""

    says: str
    command: str | None = None


@dataclass(frozen=True, slots=True)
class Advice:
    """`doubts` say in plain words why a model is of no use, none where it is; `steps` are to be tried in order."""

    doubts: tuple[str, ...]
    steps: tuple[Step, ...]

    @property
    def commands(self) -> tuple[str, ...]:
        """Return the commands alone."""
        return tuple(step.command for step in self.steps if step.command is not None)


NO_ADVICE = Advice((), ())


class Places(NamedTuple):
    """What commands name: the artifact, the images, the product, and the side of the network's input in pixels."""

    artifact: Path
    images: Path
    product: str
    side: int


def advise(costs: PromiseCosts, ranking: Ranking, places: Places, *, hybrid: bool = False) -> Advice:
    """Judge a model by what was seen of it. With a `hybrid` the score is not all that finds defects."""
    doubts = tuple(_doubts(costs, ranking, hybrid=hybrid))
    steps: list[Step] = []
    better = costs.better
    if better is not None:
        steps.append(Step(_says(costs, better), _calibrate(places.artifact, better.promise)))
    if doubts:
        steps += _other_models(costs.source, places)
    return Advice(doubts, tuple(steps))


def _doubts(costs: PromiseCosts, ranking: Ranking, *, hybrid: bool) -> Iterator[str]:
    now = costs.in_force
    drawn = "drawn " if costs.source == "synthetic" else ""
    # Only what is surely more than the promise is worth anything: else good parts are rejected as often.
    useless = now.recall_interval.low <= now.promise
    if ranking.interval.low <= GUESSING:
        pairs = (
            f"of a good and a defective part, the {drawn}defective one has the higher score in"
            f" {percent(ranking.auroc)} of cases (95 % sure: {_range(ranking.interval)}), and a coin gives 50 %"
        )
        if ranking.auroc >= _CLEAR:
            few = f"{ranking.good} good and {ranking.defective} {drawn}defective images"
            yield f"{few} are too few to know whether this model can tell them apart: {pairs}"
        else:
            what = "the anomaly score of this model" if hybrid and not useless else "this model"
            yield f"{what} cannot tell good parts from {drawn}defective ones: {pairs}"
    elif useless:
        yield (
            f"at its threshold this model is of no use: it rejects {now.found} of {now.defective} {drawn}defective"
            f" parts ({percent(now.recall)}, 95 % sure: {_range(now.recall_interval)}), and may reject"
            f" {percent(now.promise)} of good ones"
        )
    loosest = costs.rows[-1]
    if not useless and loosest.recall < _FEW:
        yield (
            f"even a promise of {percent(loosest.promise)} finds {loosest.found} of {loosest.defective}"
            f" {drawn}defective parts ({percent(loosest.recall)}): no threshold will do, another model must be tried"
        )


_FEW = 0.5
"""With less found at every promise, a threshold is not what is wrong."""

_CLEAR = 0.75
"""An AUROC that would be worth something if there were enough images to believe it."""


def _says(costs: PromiseCosts, better: PromiseRow) -> str:
    now = costs.in_force
    defects = "the drawn defects" if costs.source == "synthetic" else "the defects"
    change = f"a promise of {percent(better.promise)} instead of {percent(now.promise)}"
    if better.promise > now.promise:
        return f"{change} finds {percent(better.recall)} instead of {percent(now.recall)} of {defects}"
    return f"{change} finds as many of {defects}"


def _calibrate(artifact: Path, promise: float) -> str:
    out = artifact.with_name(f"{artifact.name}-{100 * promise:g}pct")
    number = 2
    while out.exists():
        out = artifact.with_name(f"{artifact.name}-{100 * promise:g}pct-{number}")
        number += 1
    return f"neverblink calibrate {_word(artifact)} --false-reject {promise:g} --out {_word(out)}"


def _other_models(source: Source, places: Places) -> list[Step]:
    """Return what is tried with a model that is of no use: looking, more pixels, other knobs, known defects."""
    finer = min(2 * places.side, 1024)
    images, product = _word(places.images), _word(places.product)
    steps = [
        Step(
            f"look at the pictures: is a defect visible at {places.side} px, and does anything vary more than it,"
            " such as light, pose or background?"
        )
    ]
    if finer > places.side:
        steps.append(
            Step(
                "show the network more pixels",
                f"neverblink fit {images} --product {product} --size {finer}"
                f" --out {_word(places.artifact.with_name(f'{places.artifact.name}-{finer}px'))}",
            )
        )
    if source == "real":
        steps += [
            Step("try other knobs side by side", "neverblink compare --example > candidates.yaml"),
            Step("and then", f"neverblink compare {images} --config candidates.yaml"),
            Step("teach it the defects that are known: docs/guides/known-defects.md"),
        ]
    else:
        steps.append(
            Step(
                "photograph real defects into test/DEFECT, and good parts into test/good, and judge it by them",
                f"neverblink evaluate {images} --artifact {_word(places.artifact)} --report {product}.html",
            )
        )
    return steps


def _word(path: Path | str) -> str:
    return shlex.quote(str(path))


def _range(interval: Interval) -> str:
    return f"{100 * interval.low:.0f} to {100 * interval.high:.0f} %"
