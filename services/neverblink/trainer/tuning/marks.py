"""What a recipe's banks say of pictures, and what it comes to: a score, or the highest share of the regions' levels."""

from dataclasses import dataclass, field
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
from torch import Tensor

from neverblink.trainer.fitting.named_regions import Measured, RegionPlan, scored_by_regions
from neverblink.trainer.fitting.views import Views
from neverblink.trainer.tuning.judging import NEVER
from neverblink.vision.patchcore import FeatureExtractor, PatchCore, patches_of

Floats = npt.NDArray[np.float64]
Vectors = dict[int, npt.NDArray[np.float32]]

_NO_FOLD: Final = -1


@dataclass(frozen=True, slots=True)
class Looked:
    """One picture: the distances (R,) of its regions, of its whole where it has none, and presence checks' vectors."""

    distances: Floats
    vectors: Vectors = field(default_factory=dict)


class Marks:
    """What pictures showed, each by the banks of other folds; one that was not looked at scores nothing."""

    def __init__(self, count: int) -> None:
        self._looked: list[Looked | None] = [None] * count
        self.fold_of = np.full(count, _NO_FOLD, dtype=np.int64)

    def note(self, place: int, fold: int, looked: Looked) -> None:
        """Keep what the picture at a place showed to the bank that lacks a fold."""
        self._looked[place], self.fold_of[place] = looked, fold

    @property
    def known(self) -> npt.NDArray[np.bool_]:
        """Return (n,) which pictures were looked at."""
        return np.asarray(self.fold_of != _NO_FOLD)

    def measured(self) -> Measured:
        """Return what those that were looked at showed: one of them at least."""
        looked = [one for one in self._looked if one is not None]
        vectors = {place: np.stack([one.vectors[place] for one in looked]) for place in looked[0].vectors}
        return Measured(np.stack([one.distances for one in looked]), vectors, self.fold_of[self.known])


class Judge:
    """Looks at pictures as a fit of these settings would judge them: by named regions where there are any."""

    def __init__(
        self, views: Views, extractor: FeatureExtractor, plan: RegionPlan | None, false_reject: float | None
    ) -> None:
        self._views, self._grid, self._plan = views, extractor.grid, plan
        self._false_reject: float | Literal["auto"] = "auto" if false_reject is None else false_reject
        self._patches = () if plan is None else patches_of(plan.places.labels)

    def looked(self, model: PatchCore, features: Tensor) -> Looked:
        """Return what one picture's (T, h · w, C) features show to a model."""
        shaped = features.view(len(features), *self._grid, -1)
        if self._plan is None:
            return Looked(np.array([self._views.anomaly(model.score(shaped)).score]))
        plan = self._plan
        found, _ = model.score_by_region(shaped, self._patches, len(plan.spec.regions))
        flat = features.flatten(1, -2).numpy()
        vectors = {place: one.vectors(flat[one.tile : one.tile + 1])[0] for place, one in plan.places.looked.items()}
        return Looked(found.numpy().max(axis=0).astype(np.float64), vectors)

    def scores(self, good: Marks, bad: Marks) -> tuple[Floats, Floats]:
        """Return the scores of all good pictures and of all defects, NEVER of those that were not looked at."""
        known = good.measured()
        shown = bad.measured() if bad.known.any() else known
        own, defects = known.distances.ravel(), shown.distances.ravel()
        if self._plan is not None:
            own, defects = scored_by_regions(self._plan, known, shown, self._views.group, self._false_reject)
        found = np.full(len(bad.fold_of), NEVER)
        if bad.known.any():
            found[bad.known] = defects
        return own, found
