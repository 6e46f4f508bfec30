"""Training pictures whose held-out score stands out: one that is not good chooses the threshold, and defects pass."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from neverblink.trainer.fitting.cross_fitting import Floats, HeldOut
from neverblink.vision.calibration import Calibration, CalibrationError, calibrate
from neverblink.vision.copies import in_order, one_each

STANDS_OUT = 5.0
"""Deviations above the median from which a picture stands out, on the logarithm of scores; see the guide's figures."""

GAP = 1.2
APART = 3.5
"""A picture so many deviations up, with nothing between it and this share less, stands out too, and all above it."""

_FEWEST = 20
"""Among fewer pictures nothing can be said to stand out."""

_QUARTILE = 0.6745
"""Deviations from the median to the upper quartile of a normal law: a few bad pictures do not move either."""

MOST = 0.05
"""A robust fit leaves out at most this share of the pictures."""


@dataclass(frozen=True, slots=True)
class Suspect:
    """A picture that stands out: its held-out score, how many deviations that is above the median, its map (h, w), and
    the threshold without it and those that score higher; None where too few would be left for the promise.
    """

    path: Path
    score: float
    deviations: float
    threshold_without: float | None
    anomaly_map: Floats | None = None


def find_suspects(paths: Sequence[Path], held_out: HeldOut, false_reject: float | Literal["auto"]) -> list[Suspect]:
    """Return the pictures that stand out, the highest first."""
    away = deviations(held_out.scores)
    order = np.argsort(-held_out.scores, kind="stable")
    found = order[: standing_out(held_out.scores[order])].tolist()
    kept = np.ones(len(paths), dtype=np.bool_)
    suspects = []
    for place in found:
        kept[place] = False
        suspects.append(
            Suspect(
                paths[place],
                float(held_out.scores[place]),
                float(away[place]),
                _threshold_of(held_out, kept, false_reject),
                held_out.maps.get(place),
            )
        )
    return suspects


def standing_out(scores: npt.NDArray[np.floating]) -> int:
    """Return how many of (n,) scores, the highest first, stand out: by deviations, or above a gap."""
    away = deviations(scores)
    below = np.append(scores[1:], scores[-1:])
    out = np.flatnonzero((away >= STANDS_OUT) | ((away >= APART) & (scores >= GAP * below)))
    return int(out[-1]) + 1 if len(out) else 0


def deviations(scores: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Return how many robust deviations each of (n,) scores lies above the median, by logarithms; 0 for a handful."""
    logs = np.log(np.maximum(scores.astype(np.float64), np.finfo(np.float32).tiny))
    if len(logs) < _FEWEST:
        return np.zeros(len(logs))
    median, quartile = np.quantile(logs, [0.5, 0.75])
    return np.asarray((logs - median) / max((quartile - median) / _QUARTILE, 1e-3))


def suspects_notes(suspects: Sequence[Suspect], calibration: Calibration) -> list[str]:
    """Return in sentences which pictures stand out, and what they cost."""
    if not suspects:
        return []
    owed = [one for one in suspects if one.score >= calibration.threshold]
    said = f"{len(suspects)} training picture{'s' * (len(suspects) != 1)} stand{'s' * (len(suspects) == 1)} out"
    if owed and owed[-1].threshold_without is not None and owed[-1].threshold_without < calibration.threshold:
        said += (
            f", and the threshold of {calibration.threshold:.3f} is owed to {'it' if len(owed) == 1 else 'them'}:"
            f" without {'it' if len(owed) == 1 else f'the highest {len(owed)}'} it would be"
            f" {owed[-1].threshold_without:.3f}"
        )
    listed = "".join(f"\n  {_line(one)}" for one in suspects)
    advice = (
        "Look at them: what is not good goes out by --exclude; a robust fit (--robust) takes all of them for not good"
    )
    return [f"{said}. {advice}:{listed}"]


@dataclass(frozen=True, slots=True)
class Robust:
    """What a robust fit assumes: that the pictures `left_out` are not good. So many `stay` though they stand out."""

    left_out: tuple[Suspect, ...]
    stay: int = 0

    def note(self) -> str:
        """Return the assumption in a sentence."""
        count = len(self.left_out)
        if not count:
            return "robust: no picture stands out, nothing was left out"
        plural = "" if count == 1 else "s"
        more = f"; {self.stay} more stand out and stay, for it leaves out a twentieth at most" if self.stay else ""
        listed = "".join(f"\n  {_line(one)}" for one in self.left_out)
        return (
            f"robust: {count} picture{plural} that stood out {'was' if count == 1 else 'were'} taken for not good, and"
            f" left out of bank and threshold{more}. The promise holds only if {'it is' if count == 1 else 'they are'}"
            f" indeed not good:{listed}"
        )


def taken_for_bad(suspects: Sequence[Suspect], pictures: int) -> Robust:
    """Return which of the suspects, the highest first, a robust fit to so many pictures leaves out."""
    most = max(1, int(MOST * pictures))
    return Robust(tuple(suspects[:most]), max(0, len(suspects) - most))


def _line(one: Suspect) -> str:
    without = "" if one.threshold_without is None else f", threshold without it {one.threshold_without:.3f}"
    return f"{one.path}: score {one.score:.3f}{without}"


def _threshold_of(
    held_out: HeldOut, kept: npt.NDArray[np.bool_], false_reject: float | Literal["auto"]
) -> float | None:
    group = in_order(held_out.group[kept])
    try:
        return calibrate(
            one_each(held_out.scores[kept], group), one_each(held_out.peaks[kept], group), false_reject=false_reject
        ).threshold
    except CalibrationError:
        return None
