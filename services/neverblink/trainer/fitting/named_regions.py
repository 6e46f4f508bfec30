"""The named regions of a fit: their patches, what is present in them, and levels that share the promise out."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from neverblink.job_life.progress import Progress
from neverblink.trainer.datasets.images import DatasetError, images_in
from neverblink.trainer.fitting.cross_fitting import HeldOut, small_map
from neverblink.trainer.fitting.memory_banks import Banks
from neverblink.trainer.fitting.views import Views
from neverblink.vision.alignment.aligner import NotFoundError
from neverblink.vision.calibration import calibrate
from neverblink.vision.copies import one_each
from neverblink.vision.decode import read_image
from neverblink.vision.inspector import embedded, prepared
from neverblink.vision.named_regions.fitted import FittedRegions
from neverblink.vision.named_regions.places import Places
from neverblink.vision.named_regions.presence import Presence
from neverblink.vision.named_regions.scoring import label_maps
from neverblink.vision.named_regions.spec import REST, FittedRegion, RegionsFile, RegionsSpec
from neverblink.vision.patchcore import FeatureExtractor, PatchCore, patches_of
from neverblink.vision.preprocess import Preprocess

Floats = npt.NDArray[np.float32]
Scores = npt.NDArray[np.float64]

TAIL: Final = 0.1
"""The highest tenth of good scores says how they go on."""

_LEAST_IN_TAIL = 4
_TINY = float(np.finfo(np.float32).tiny)


@dataclass(frozen=True, slots=True)
class RegionPlan:
    """What is drawn, which patches that is, and the mean of each presence check's examples, by region and state."""

    spec: RegionsSpec
    places: Places
    examples: Mapping[int, Mapping[str, Floats]]


def described(drawn: RegionsFile) -> RegionsSpec:
    """Return drawn regions as a model states them, the rest among them; nothing is learnt yet."""
    shares = drawn.shares()
    regions = [
        FittedRegion(name=one.name, kind=one.kind, polygon=one.polygon, share=shares.get(one.name, 0))
        for one in drawn.regions
    ]
    if drawn.rest == "judged":
        regions.append(FittedRegion(name=REST, kind="judged", polygon=(), share=shares[REST]))
    return RegionsSpec(width=drawn.width, height=drawn.height, regions=tuple(regions), rest=drawn.rest)


def planned(
    drawn: RegionsFile | None, views: Views, extractor: FeatureExtractor, known: FittedRegions | None
) -> RegionPlan | None:
    """Return the regions of a fit, those of another model where they are `known`, None without any.

    Examples are looked at here. Raises DatasetError where they cannot be, RegionsError where regions do not fit.
    """
    if views.places is None:
        return None
    if known is not None:
        return RegionPlan(known.spec, known.places, {place: one.states for place, one in known.presence.items()})
    assert drawn is not None
    seen = _Examples(views, extractor)
    spec = described(drawn)
    examples: dict[int, dict[str, Floats]] = {}
    regions = list(spec.regions)
    for place, looked in views.places.looked.items():
        means: dict[str, Floats] = {}
        counts = {}
        for state, folder in sorted(drawn.regions[place].examples.items()):
            shown = [one for path in images_in(folder) if (one := seen.of(path)) is not None]
            if not shown:
                raise DatasetError(f"{folder} shows no example of {drawn.regions[place].name} being {state}")
            vectors = [looked.vectors(one[looked.tile : looked.tile + 1])[0] for one in shown]
            means[state] = np.asarray(np.mean(vectors, axis=0, dtype=np.float64), dtype=np.float32)
            counts[state] = len(shown)
        examples[place] = means
        regions[place] = regions[place].model_copy(update={"examples": counts})
    return RegionPlan(spec.model_copy(update={"regions": tuple(regions)}), views.places, examples)


def examples_of(drawn: RegionsFile) -> list[Path]:
    """Return the pictures of all examples. Raises DatasetError."""
    return [path for one in drawn.regions for _, folder in sorted(one.examples.items()) for path in images_in(folder)]


class _Examples:
    """The (T, h · w, C) features of pictures, each looked at once: one may show the faults of several regions."""

    def __init__(self, views: Views, extractor: FeatureExtractor) -> None:
        self._views, self._extractor = views, extractor
        self._seen: dict[Path, Floats | None] = {}

    def of(self, path: Path) -> Floats | None:
        """Return a picture's features, None where no part is found in it. Raises ImageError."""
        place = path.resolve()
        if place not in self._seen:
            self._seen[place] = self._features(path)
        return self._seen[place]

    def _features(self, path: Path) -> Floats | None:
        try:
            image = self._views.seen(read_image(path, depth=self._extractor.spec.preprocess.depth))
        except NotFoundError:
            return None
        features = embedded(self._extractor, prepared(image, self._extractor, self._views.plan)).cpu()
        return np.asarray(features.flatten(1, 2).numpy(), dtype=np.float32)


@dataclass(frozen=True, slots=True)
class Measured:
    """What pictures show: the distances (n, R) of regions by the banks of other folds than `fold_of` (n,) says, and
    the (n, D) vectors of each presence check.
    """

    distances: Scores
    vectors: Mapping[int, Floats]
    fold_of: npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class _Column:
    """One score that can reject: a region's patches, or a check of its presence; `share` of the promise."""

    place: int
    check: str | None
    share: float


def cross_fitted_regions(
    plan: RegionPlan,
    banks: Banks,
    views: Views,
    grid: tuple[int, int],
    preprocess: Preprocess,
    scorer: Callable[[Tensor], PatchCore],
    progress: Progress,
    *,
    false_reject: float | Literal["auto"],
) -> tuple[HeldOut, FittedRegions]:
    """Score every picture by what the other folds know, and choose each region's level by its share of the promise.

    Levels put the scores of regions and checks into one unit, by how the highest of their held-out scores go on. That
    is a guess; the promise does not rest on it: the highest over all regions is what calibrates, of levels that the
    picture's own fold did not choose.
    """
    fold_of = banks.fold_of.numpy()
    vectors = _vectors(plan, banks, views)
    distances, peaks, maps = _distances(plan, banks, views, grid, preprocess, scorer, progress)
    good = Measured(distances, vectors, fold_of)
    presence, columns, held, own, by_fold = _held_out(plan, good, views.group, false_reject)
    fitted = _fitted(plan, presence, columns, own)
    unusual = [index for index, column in enumerate(columns) if column.check is None]
    relative = peaks[:, [columns[index].place for index in unusual]] / by_fold[:, unusual]
    highest = relative.max(axis=1)
    shown = {image: _brought(one, float(highest[image])) for image, one in maps.items()}
    scores = (held / by_fold).max(axis=1).astype(np.float32)
    return HeldOut(scores, highest.astype(np.float32), views.group, shown), fitted


def shared_out(
    held: Scores,
    shares: Sequence[float],
    floors: Scores,
    group: npt.NDArray[np.int64],
    fold_of: npt.NDArray[np.int64],
    false_reject: float | Literal["auto"],
) -> tuple[Scores, Scores]:
    """Return (K,) levels of (n, K) held-out scores of good parts, and those (n, K) that a picture's fold had no part
    in, which calibrate: by either the highest score of a picture has its threshold near 1.
    """
    promise = 0.01 if false_reject == "auto" else false_reject
    own = _levels_of(_one_a_group(held, group), shares, promise)
    by_fold = np.empty_like(held)
    for fold in np.unique(fold_of):
        others = fold_of != fold
        _, among = np.unique(group[others], return_inverse=True)
        by_fold[~others] = _levels_of(_one_a_group(held[others], among), shares, promise)
    highest = one_each((held / by_fold).max(axis=1), group)
    factor = calibrate(highest, highest, false_reject=false_reject).threshold
    return np.maximum(own * factor, floors), np.maximum(by_fold * factor, floors)


def _levels_of(held: Scores, shares: Sequence[float], promise: float) -> Scores:
    """Return (K,) levels that (n, K) held-out scores of good parts exceed about as often as their share allows."""
    return np.array([level(own, promise * share) for own, share in zip(held.T, shares, strict=True)])


def level(scores: Scores, share: float) -> float:
    """Return what about this `share` of good scores exceeds: beyond the highest tenth they are taken to go on like an
    exponential law, which of all whose tails fall off as fast is the widest.
    """
    ordered = np.sort(scores)[::-1]
    count = len(ordered)
    inside = min(count - 1, max(_LEAST_IN_TAIL, round(TAIL * count)))
    if inside < 1:
        return max(float(ordered[0]), _TINY)
    if share * count >= inside:
        return max(float(ordered[min(count - 1, int(share * count))]), _TINY)
    begins = ordered[inside]
    excess = float(np.mean(ordered[:inside] - begins))
    return max(float(begins) + excess * float(np.log(inside / (share * count))), _TINY)


def _one_a_group(held: Scores, group: npt.NDArray[np.int64]) -> Scores:
    """Return each group's worst score by each column."""
    return np.stack([one_each(own, group) for own in held.T], axis=1).astype(np.float64)


def _vectors(plan: RegionPlan, banks: Banks, views: Views) -> dict[int, Floats]:
    """Return the (n, D) vectors of all pictures for each presence check."""
    found: dict[int, list[Floats]] = {place: [] for place in plan.places.looked}
    if not found:
        return {}
    for image in range(len(views.images)):
        features = banks.features.images(torch.tensor(views.judged(image))).numpy()
        for place, looked in plan.places.looked.items():
            found[place].append(looked.vectors(features[looked.tile : looked.tile + 1])[0])
    return {place: np.stack(own) for place, own in found.items()}


def _distances(
    plan: RegionPlan,
    banks: Banks,
    views: Views,
    grid: tuple[int, int],
    preprocess: Preprocess,
    scorer: Callable[[Tensor], PatchCore],
    progress: Progress,
) -> tuple[Scores, Scores, dict[int, Floats]]:
    """Return the held-out scores and highest map values (n, R) of regions, as distances, and the pictures' maps."""
    count, regions = len(views.images), len(plan.spec.regions)
    scores, peaks = np.zeros((count, regions)), np.zeros((count, regions))
    maps: dict[int, Floats] = {}
    shown = patches_of(plan.places.labels)
    fine = label_maps(plan.places.labels, preprocess, grid)
    done = 0
    progress("calibrating", done, count)
    for fold in range(int(banks.fold_of.max()) + 1):
        model = scorer(banks.without(fold))
        for image in torch.nonzero(banks.fold_of == fold).flatten().tolist():
            rows = torch.tensor(views.judged(image))
            features = banks.features.images(rows).view(len(rows), *grid, -1)
            found, made = model.score_by_region(features, shown, regions, complete=True)
            scores[image] = found.numpy().max(axis=0)
            drawn = [np.asarray(one) for one in made]
            for label, one in zip(fine, drawn, strict=True):
                np.maximum.at(peaks[image], label[label >= 0], one[label >= 0])
            maps[image] = small_map(views.whole(drawn))
            done += 1
            progress("calibrating", done, count)
    return scores, peaks, maps


def _columns(plan: RegionPlan, presence: Mapping[int, Presence]) -> list[_Column]:
    found = []
    for place, region in enumerate(plan.spec.regions):
        if region.kind == "ignored":
            continue
        checks: list[str | None] = []
        if (plan.places.labels == place).any():
            checks.append(None)
        if place in presence:
            checks += presence[place].checks
        found += [_Column(place, check, region.share / len(checks)) for check in checks]
    return found


def _scored(plan: RegionPlan, columns: Sequence[_Column], shown: Measured, good: Measured) -> Scores:
    """Return the (n, K) scores of all columns, by what the good parts of other folds than a picture's say."""
    found = np.zeros((len(shown.distances), len(columns)))
    where = {(column.place, column.check): index for index, column in enumerate(columns)}
    for index, column in enumerate(columns):
        if column.check is None:
            found[:, index] = shown.distances[:, column.place]
    for place, own in shown.vectors.items():
        for fold in np.unique(shown.fold_of):
            held = shown.fold_of == fold
            model = Presence.learn(good.vectors[place][good.fold_of != fold], plan.examples[place])
            for check, scores in zip(model.checks, model.scores(own[held]).T, strict=True):
                found[held, where[place, check]] = scores
    return found


def _held_out(
    plan: RegionPlan, good: Measured, group: npt.NDArray[np.int64], false_reject: float | Literal["auto"]
) -> tuple[dict[int, Presence], list[_Column], Scores, Scores, Scores]:
    """Return what all good parts say of presence, the K columns, their (n, K) held-out scores, the (K,) levels, and the
    (n, K) levels that a picture's fold had no part in.
    """
    presence = {place: Presence.learn(own, plan.examples[place]) for place, own in good.vectors.items()}
    columns = _columns(plan, presence)
    held = _scored(plan, columns, good, good)
    floors = np.array([_floor(column, presence) for column in columns])
    shares = [column.share for column in columns]
    return presence, columns, held, *shared_out(held, shares, floors, group, good.fold_of, false_reject)


def scored_by_regions(
    plan: RegionPlan,
    good: Measured,
    bad: Measured,
    group: npt.NDArray[np.int64],
    false_reject: float | Literal["auto"],
) -> tuple[Scores, Scores]:
    """Return the (n,) scores of good and (m,) of defective parts, each by banks, presence and levels of other folds."""
    _, columns, held, _, by_fold = _held_out(plan, good, group, false_reject)
    of_fold = {fold: by_fold[place] for place, fold in enumerate(good.fold_of.tolist())}
    levels = np.stack([of_fold[fold] for fold in bad.fold_of.tolist()])
    return (held / by_fold).max(axis=1), (_scored(plan, columns, bad, good) / levels).max(axis=1)


def _floor(column: _Column, presence: Mapping[int, Presence]) -> float:
    if column.check is None:
        return _TINY
    model = presence[column.place]
    return max(_TINY, float(model.floors[model.checks.index(column.check)]))


def _fitted(
    plan: RegionPlan, presence: Mapping[int, Presence], columns: Sequence[_Column], levels: Scores
) -> FittedRegions:
    regions = list(plan.spec.regions)
    for column, found in zip(columns, levels.tolist(), strict=True):
        before = regions[column.place]
        changed = {"level": found} if column.check is None else {"checks": {**before.checks, column.check: found}}
        regions[column.place] = before.model_copy(update=changed)
    return FittedRegions(plan.spec.model_copy(update={"regions": tuple(regions)}), plan.places, presence)


def _brought(small: Floats, highest: float) -> Floats:
    """Return a picture's small map in the unit of scores: it is looked at, not measured."""
    return np.asarray(small * (highest / max(float(small.max()), _TINY)), dtype=np.float32)
