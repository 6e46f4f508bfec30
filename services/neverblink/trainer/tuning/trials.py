"""What recipes score on the same pictures: features are extracted once for all that share them."""

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from neverblink.job_life.progress import Progress
from neverblink.trainer.fitting.feature_store import FeatureStore, SomeRows
from neverblink.trainer.fitting.memory_banks import Banks, projected, room_of, usual_ratio
from neverblink.trainer.fitting.named_regions import planned
from neverblink.trainer.fitting.opening import aligned_network, network_of
from neverblink.trainer.fitting.picture_set import PictureSet
from neverblink.trainer.fitting.settings import FitSettings
from neverblink.trainer.fitting.views import Views
from neverblink.trainer.tuning.candidates import Candidate
from neverblink.trainer.tuning.judging import NEVER, Scores
from neverblink.trainer.tuning.marks import Judge, Marks
from neverblink.trainer.tuning.shown_defects import Shown
from neverblink.vision.alignment.aligner import Aligner, NotFoundError
from neverblink.vision.backbones import Backbone
from neverblink.vision.copies import in_order, one_each
from neverblink.vision.decode import read_image
from neverblink.vision.inspector import embedded, prepared
from neverblink.vision.named_regions.spec import RegionsFile
from neverblink.vision.neighbours import neighbour_table
from neverblink.vision.patchcore import FeatureExtractor, PatchCore

_BATCH: Final = 8
_TIMED: Final = 9
_WARM: Final = 2

Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Pictures:
    """What recipes are tried on: good pictures in groups 0 to G - 1, and defects; `source` (D,) is the good picture
    that each is drawn on, None for photographed ones, and `group` (D,) joins defects of one item. A model will be
    fitted to `fitted` pictures.
    """

    good: PictureSet
    defects: tuple[Shown, ...]
    group: Places
    source: Places | None
    fitted: int

    @property
    def work(self) -> int:
        """Return how many pictures a trial looks at."""
        return len(self.good.usable.pictures) + len(self.defects)


class Workbench:
    """Tries recipes on pictures, and keeps the features of the last ones for the next."""

    def __init__(self, default: FitSettings, *, clock: Callable[[], float] = time.perf_counter) -> None:
        self._default, self._clock = default, clock
        self._key: tuple[str, int] | None = None
        self._seen: _Seen | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._forget()

    def _forget(self) -> None:
        if self._seen is not None:
            self._seen.close()
        self._seen, self._key = None, None

    def try_out(self, candidates: Sequence[Candidate], pictures: Pictures, told: Progress) -> dict[str, Scores]:
        """Return the scores of recipes of the same banks, by their keys. Raises VisionError."""
        settings = [one.of(self._default) for one in candidates]
        key = candidates[0].extraction(self._default), id(pictures)
        if key != self._key:
            self._forget()
            lights = self._default.brightness
            union = lights if set(settings[0].brightness) <= set(lights) else settings[0].brightness
            self._seen = _Seen(settings[0].model_copy(update={"brightness": union}), pictures, self._default, told)
            self._key = key
        assert self._seen is not None
        found = _scored(self._seen, settings, self._clock, told)
        return {one.key: scores for one, scores in zip(candidates, found, strict=True)}


class _Seen:
    """The features of all pictures: good ones in all lights, defects as they are, drawn alike for every recipe."""

    def __init__(self, settings: FitSettings, pictures: Pictures, drawing: FitSettings, told: Progress) -> None:
        self.settings, self.pictures, self._drawing = settings, pictures, drawing
        paths = pictures.good.usable.paths
        backbone, self.extractor, aligner, kept = _opened(settings, pictures, told)
        self.backbone, self.aligner = backbone, aligner
        self.kept = np.array([place for place, path in enumerate(paths) if path in kept], dtype=np.int64)
        self.views = self.views_of(settings)
        drawn = settings.regions if isinstance(settings.regions, RegionsFile) else None
        self.regions = planned(drawn, self.views, self.extractor, None)
        self._stack = ExitStack()
        with ExitStack() as stack:
            self.good = stack.enter_context(self._store(len(self.kept) * self.views.an_image))
            self.bad = stack.enter_context(self._store(len(pictures.defects) * self.views.tiles))
            self.found: list[bool] = []
            self._extract(told)
            self._stack = stack.pop_all()

    def close(self) -> None:
        """Give memory and files back."""
        self._stack.close()

    @property
    def paths(self) -> list[Path]:
        """Return the good pictures in which the part is found."""
        every = self.pictures.good.usable.paths
        return [every[place] for place in self.kept]

    def views_of(self, settings: FitSettings) -> Views:
        """Return the good pictures as some settings of the same features see them."""
        group = in_order(self.pictures.good.groups.group[self.kept])
        return Views(self.paths, self.extractor, settings, None, group, self.aligner)

    def rows(self, brightness: Sequence[float]) -> Tensor:
        """Return the rows of the good pictures in some of the lights."""
        lights = [self.settings.brightness.index(factor) for factor in brightness]
        image = torch.arange(len(self.kept))[:, None, None] * self.views.an_image
        light = torch.tensor(lights)[None, :, None] * self.views.tiles
        return (image + light + torch.arange(self.views.tiles)[None, None, :]).flatten()

    def _store(self, rows: int) -> FeatureStore:
        grid = self.extractor.grid
        return FeatureStore(
            rows,
            grid[0] * grid[1],
            self.extractor.dimension,
            in_memory=room_of(self.settings) // 3,
            scratch=self.settings.scratch,
        )

    def _extract(self, told: Progress) -> None:
        paths, defects = self.paths, self.pictures.defects
        total = len(paths) + len(defects)
        for start in range(0, len(paths), _BATCH):
            some = paths[start : start + _BATCH]
            self.good.append(embedded(self.extractor, [part for path in some for part in self.views.of(path)]).cpu())
            told("extracting features", start + len(some), total)
        blank = np.zeros((self.extractor.spec.preprocess.side,) * 2 + (3,), dtype=np.uint8)
        for number, shown in enumerate(defects, start=1):
            image, _ = shown.picture(self._drawing)
            try:
                inputs = prepared(self.views.seen(image), self.extractor, self.views.plan)
            except NotFoundError:
                inputs = []
            # What is cut into other tiles is no such part either.
            self.found.append(len(inputs) == self.views.tiles)
            if not self.found[-1]:
                inputs = [blank] * self.views.tiles
            self.bad.append(embedded(self.extractor, inputs).cpu())
            told("extracting features", len(paths) + number, total)


def _opened(
    settings: FitSettings, pictures: Pictures, told: Progress
) -> tuple[Backbone, FeatureExtractor, Aligner | None, set[Path]]:
    """Open the network, and learn how parts are found where the recipe looks for them."""
    paths = pictures.good.usable.paths
    if settings.align == "none":
        return *network_of(paths, settings, None), None, set(paths)
    backbone, extractor, aligned = aligned_network(pictures.good, settings, told)
    return backbone, extractor, aligned.aligner, set(aligned.pictures.usable.paths)


def _scored(seen: _Seen, settings: Sequence[FitSettings], clock: Callable[[], float], told: Progress) -> list[Scores]:
    """Score every picture by a bank that knows neither it nor another of its group, for each of some settings."""
    first, pictures = settings[0], seen.pictures
    views = seen.views_of(first)
    features = SomeRows(seen.good, seen.rows(first.brightness))
    judge = Judge(views, seen.extractor, seen.regions, first.false_reject)
    good = [Marks(len(seen.kept)) for _ in settings]
    bad = [Marks(len(pictures.defects)) for _ in settings]
    total, done = len(seen.kept) + len(pictures.defects), 0
    with projected(features, first) as small:
        banks = Banks(features, small, views, first)
        banks.condense_folds()
        fold_of = banks.fold_of.numpy()
        folds = int(fold_of.max()) + 1
        defect_fold = _defect_folds(seen, fold_of, folds)
        bank = banks.without(0)
        for fold in range(folds):
            bank = bank if fold == 0 else banks.without(fold)
            models = _models(bank, views, seen.extractor, settings)
            for place in torch.nonzero(banks.fold_of == fold).flatten().tolist():
                own = features.images(torch.tensor(views.judged(place)))
                for marks, model in zip(good, models, strict=True):
                    marks.note(place, fold, judge.looked(model, own))
                told("scoring", done := done + 1, total)
            for place in np.flatnonzero(defect_fold == fold).tolist():
                if seen.found[place]:
                    own = seen.bad.images(torch.arange(place * views.tiles, (place + 1) * views.tiles))
                    for marks, model in zip(bad, models, strict=True):
                        marks.note(place, fold, judge.looked(model, own))
                told("scoring", done := done + 1, total)
        timed = _ms(seen, features, views, bank, settings, judge, clock)
    found = []
    for known, shown, ms in zip(good, bad, timed, strict=True):
        held_out, defects = judge.scores(known, shown)
        every = np.full(len(pictures.good.usable.pictures), NEVER)
        every[seen.kept] = held_out
        found.append(Scores(one_each(every, pictures.good.groups.group).astype(np.float64), defects, ms))
    return found


def _defect_folds(seen: _Seen, fold_of: Places, folds: int) -> Places:
    """Return the fold whose bank judges each defect: that which lacks the good part below it, else each in turn."""
    source = seen.pictures.source
    if source is None:
        return np.asarray(seen.pictures.group % folds)
    fold = np.zeros(len(seen.pictures.good.usable.pictures), dtype=np.int64)
    fold[seen.kept] = fold_of
    return np.asarray(fold[source])


def _models(
    bank: Tensor, views: Views, extractor: FeatureExtractor, settings: Sequence[FitSettings]
) -> list[PatchCore]:
    """Return what scores by each of some settings, with one search for all: they differ in the score alone."""
    first = settings[0]
    model = PatchCore(
        bank,
        neighbours=neighbour_table(bank, first.neighbours) if first.neighbours else None,
        region=views.region,
        preprocess=extractor.spec.preprocess,
        top=first.top,
    )
    return [model.with_top(one.top) for one in settings]


def _ms(
    seen: _Seen,
    features: FeatureStore,
    views: Views,
    bank: Tensor,
    settings: Sequence[FitSettings],
    judge: Judge,
    clock: Callable[[], float],
) -> list[float]:
    """Return the median time of an image by each of some settings: preparing, network and search, without decoding.

    Banks of a trial are smaller than a fit's of all pictures: patches at random make up for what lacks.
    """
    lacking = _vectors(seen, views, settings[0], features.patches) - len(bank)
    if lacking > 0:
        some = torch.randint(len(features) * features.patches, (lacking,), generator=torch.Generator().manual_seed(0))
        bank = torch.cat([bank, features.gather(some)])
    paths = (seen.paths * (_TIMED + _WARM))[: _TIMED + _WARM]
    images = [read_image(path, depth=settings[0].depth) for path in paths]
    found = []
    for model in _models(bank, views, seen.extractor, settings):
        spent = []
        for image in images:
            began = clock()
            inputs = prepared(views.seen(image), seen.extractor, views.plan)
            judge.looked(model, embedded(seen.extractor, inputs).cpu())
            spent.append(clock() - began)
        found.append(1000 * float(np.median(spent[_WARM:])))
    return found


def _vectors(seen: _Seen, views: Views, settings: FitSettings, patches: int) -> int:
    """Return how many vectors a fit to all pictures keeps."""
    judged = (
        patches * views.tiles if views.region is None else int(views.region.sum()) * views.tiles // len(views.region)
    )
    lights = len(settings.brightness)
    every = judged * seen.pictures.fitted
    ratio = settings.ratio or usual_ratio(max(1, every)) / lights
    return round(ratio * every * lights)


def least_seconds(default: FitSettings, pictures: Pictures, clock: Callable[[], float]) -> float:
    """Return what the default's features alone take: a trial takes longer."""
    settings = default.model_copy(update={"align": "none"})
    _, extractor = network_of(pictures.good.usable.paths, settings, None)
    paths = pictures.good.usable.paths[:_TIMED]
    views = Views(paths, extractor, settings, None)
    spent = []
    for path in paths:
        began = clock()
        embedded(extractor, views.of(path))
        spent.append(clock() - began)
    return float(np.median(spent)) * len(pictures.good.usable.pictures)
