"""Whether what must be there is there: features at one place against those of good parts and of a few bad ones.

Differences from the mean of good parts are measured in their own spread: its largest axes, and one spread for all else
(M. E. Tipping and C. M. Bishop, J. R. Stat. Soc. B 61, 1999). In this measure a class that differs by its mean alone is
told apart best by the projection on that mean (R. A. Fisher, Annals of Eugenics 7, 1936), for which few examples do.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
import numpy.typing as npt

from neverblink.vision.evenly import places_over

Floats = npt.NDArray[np.float32]
Scores = npt.NDArray[np.float64]

UNLIKE: Final = "unlike"
"""The check that needs no examples: how far from good parts, in their own spread."""

LIKE: Final = 0.5
"""From half the way to the mean of its examples on, a part looks like them; half the distance of the nearest ones is
too far from good parts. What happens beside a region moves it by less.
"""

_AXES = 48
"""Axes of the spread of good parts: with 16, one in twenty simulated faults gets another name."""

_MOST_LEARNT = 500
"""Pictures that say how good parts spread: more cost time alone."""

_LEAST = 1e-4


@dataclass(frozen=True, slots=True)
class Presence:
    """`mean` (D,) of good parts; `axes` (q, D) of their spread and the deviations (q + 1,) along them, and along all
    else; `states` (D,) means of examples.
    """

    mean: Floats
    axes: Floats
    deviations: Floats
    states: Mapping[str, Floats]

    @classmethod
    def learn(cls, good: Floats, states: Mapping[str, Floats]) -> Self:
        """Learn from (n, D) vectors of good parts, and the means (D,) of examples of each state."""
        known = good[places_over(len(good), _MOST_LEARNT)].astype(np.float64)
        mean = known.mean(axis=0)
        away = known - mean
        count, dimension = away.shape
        most = min(_AXES, count // 4, dimension // 2)
        # The smaller of the two products has the same eigenvalues.
        narrow = count <= dimension
        values, vectors = np.linalg.eigh(away @ away.T if narrow else away.T @ away)
        values, vectors = np.clip(values[::-1], 0, None), vectors[:, ::-1]
        total = values.sum()
        axes = vectors[:, :most].T if not narrow else (vectors[:, :most].T @ away)
        lengths = np.linalg.norm(axes, axis=1, keepdims=True)
        axes = axes / np.maximum(lengths, np.finfo(np.float64).tiny)
        # Of what the axes leave in the pictures that chose them a share of most / (count - 1) is missing; with it put
        # back the measure does not depend on how many pictures there were, and fold and whole model say the same.
        left = max(1, count - 1 - most) * (dimension - most)
        rest = max((total - values[:most].sum()) / left, np.finfo(np.float32).eps)
        spread = np.append(np.maximum(values[:most] / max(1, count - 1), rest), rest)
        return cls(mean.astype(np.float32), axes.astype(np.float32), np.sqrt(spread).astype(np.float32), dict(states))

    @property
    def checks(self) -> tuple[str, ...]:
        """Return the names of the columns of `scores`."""
        return (UNLIKE, *self.states)

    @property
    def floors(self) -> Scores:
        """Return the least level of each check: what lies nearer to good parts than to examples is no fault."""
        sizes = [float(np.sqrt(np.mean(self._measured(state[None])[0] ** 2))) for state in self.states.values()]
        return np.array([LIKE * min(sizes, default=0.0), *[LIKE] * len(sizes)])

    def scores(self, vectors: Floats) -> Scores:
        """Return the (n, 1 + states) scores of (n, D) vectors; each row depends on its own vector alone."""
        measured = self._measured(vectors)
        columns = [np.sqrt(np.mean(measured**2, axis=1))]
        for state in self.states.values():
            direction = self._measured(state[None])[0]
            columns.append(measured @ direction / max(float(direction @ direction), np.finfo(np.float64).tiny))
        return np.asarray(np.maximum(np.stack(columns, axis=1), _LEAST), dtype=np.float64)

    def nearest(self, vectors: Floats) -> list[str | None]:
        """Return the state whose examples each of (n, D) vectors is nearest to, None where good parts are nearer."""
        measured = self._measured(vectors)
        apart = [np.mean(measured**2, axis=1)]
        apart += [np.mean((measured - self._measured(state[None])) ** 2, axis=1) for state in self.states.values()]
        names = [None, *self.states]
        return [names[place] for place in np.argmin(np.stack(apart, axis=1), axis=1)]

    def _measured(self, vectors: Floats) -> Scores:
        away = vectors.astype(np.float64) - self.mean
        along = away @ self.axes.T.astype(np.float64)
        rest = away - along @ self.axes
        return np.concatenate([along / self.deviations[:-1], rest / self.deviations[-1]], axis=1)
