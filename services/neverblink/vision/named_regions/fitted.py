"""The named regions of a model: how they were drawn, their patches, what is present in them, and their levels."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
import numpy.typing as npt

from neverblink.vision.named_regions.places import Looked, Places
from neverblink.vision.named_regions.presence import Presence
from neverblink.vision.named_regions.spec import RegionsError, RegionsSpec

PART: Final = "named_regions"

Floats = npt.NDArray[np.float32]

_OF_A_CHECK = ("tile", "patches", "shares", "mean", "axes", "deviations")


@dataclass(frozen=True, slots=True)
class FittedRegions:
    """`presence` has one model for each presence check, by its region's place in the list."""

    spec: RegionsSpec
    places: Places
    presence: Mapping[int, Presence]

    @property
    def levels(self) -> npt.NDArray[np.float64]:
        """Return (R,) distances that are a score of 1 in each region."""
        return np.array([region.level for region in self.spec.regions])

    def checks(self, place: int) -> npt.NDArray[np.float64]:
        """Return the levels of the checks of a presence region, in the order of its scores."""
        region = self.spec.regions[place]
        return np.array([region.checks[name] for name in self.presence[place].checks])

    def tensors(self, grid: tuple[int, int]) -> dict[str, Floats]:
        """Return what an artifact keeps beside the description, all float32."""
        found = {"labels": self.places.labels.reshape(-1, *grid).astype(np.float32)}
        for place, looked in self.places.looked.items():
            model = self.presence[place]
            own = {
                "tile": np.array([looked.tile], dtype=np.float32),
                "patches": looked.patches.astype(np.float32),
                "shares": looked.shares,
                "mean": model.mean,
                "axes": model.axes,
                "deviations": model.deviations,
                **model.states,
            }
            found |= {f"{place}.{name}": np.ascontiguousarray(value, dtype=np.float32) for name, value in own.items()}
        return found

    @classmethod
    def of_parts(
        cls, spec: RegionsSpec | None, tensors: Mapping[str, Floats] | None, dimension: int, patches: int
    ) -> Self | None:
        """Return an artifact's regions for `patches` of so many numbers, None: it has none. Raises RegionsError."""
        if spec is None:
            return None
        try:
            return cls._assembled(spec, tensors or {}, dimension, patches)
        except KeyError as error:
            raise RegionsError(f"the regions of the artifact lack {error.args[0]}") from error

    @classmethod
    def _assembled(cls, spec: RegionsSpec, tensors: Mapping[str, Floats], dimension: int, patches: int) -> Self:
        kept = tensors["labels"]
        labels: npt.NDArray[np.int64] = kept.reshape(len(kept), -1).astype(np.int64)
        _check(labels.shape[1] == patches, "labels", labels)
        _check(bool(((labels >= -1) & (labels < len(spec.regions))).all()), "labels", labels)
        looked, presence = {}, {}
        for place, region in enumerate(spec.regions):
            if region.kind != "presence":
                continue
            own = {name: tensors[f"{place}.{name}"] for name in _OF_A_CHECK}
            shares, axes = own["shares"], own["axes"]
            where = own["patches"].astype(np.int64)
            tile = int(own["tile"][0])
            numbers = len(shares) * dimension
            _check(0 <= tile < len(labels) and bool(((where >= 0) & (where < patches)).all()), "patches", where)
            _check(shares.shape == (len(shares), len(where)), "shares", shares)
            _check(own["mean"].shape == (numbers,), "mean", own["mean"])
            _check(axes.ndim == 2 and axes.shape[1] == numbers, "axes", axes)
            _check(own["deviations"].shape == (len(axes) + 1,), "deviations", own["deviations"])
            _check(bool((own["deviations"] > 0).all()), "deviations", own["deviations"])
            states: dict[str, Floats] = {name: tensors[f"{place}.{name}"] for name in region.examples}
            for state in states.values():
                _check(state.shape == (numbers,), "state", state)
            looked[place] = Looked(tile, where, shares)
            presence[place] = Presence(own["mean"], axes, own["deviations"], states)
            for name in presence[place].checks:
                if name not in region.checks:
                    raise RegionsError(f"the regions of the artifact lack a level of {name}")
        return cls(spec, Places(labels, looked), presence)


def _check(fits: bool, name: str, array: npt.NDArray[np.generic]) -> None:
    if not fits:
        raise RegionsError(f"the tensor {name} of the named regions does not fit: {array.dtype} {array.shape}")
