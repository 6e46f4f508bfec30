"""A picture slid over what good parts look like, to a fraction of a pixel."""

import math
from collections.abc import Callable
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

_FAR = 0.35
"""Differences beyond this pull less and less: a broken corner must not move the rest."""

_STEPS = 10
_STILL = 0.02
"""Pixels, and as far at the part's end: smaller steps are none."""


_FLAT = 2e-3
"""Pixels that a step of one pixel changes by less say nothing of where a part lies."""


class Steps(NamedTuple):
    """What a step along x, along y and round the middle changes, (n, 3), of the pixels `rows` (n,) that it changes."""

    rows: npt.NDArray[np.int64]
    jacobian: Floats


class Slid(NamedTuple):
    """Where the middle (x, y) lies in searched pixels, and by how many degrees it is turned from x to y."""

    x: float
    y: float
    angle: float


def slid(
    warped: Callable[[Slid], Floats],
    target: Floats,
    steps: Steps,
    start: Slid,
    *,
    reach: float,
    turned: bool = True,
) -> Slid:
    """Slide to where `warped` differs least from `target`: inverse compositional Lucas–Kanade (Baker and Matthews, IJCV
    2004), with weights against what differs too much.

    `steps` are `steps_of` the target; `reach` in pixels is from its middle to its end.
    """
    x, y, angle = start
    flat = target.reshape(-1)[steps.rows]
    jacobian = steps.jacobian if turned else steps.jacobian[:, :2]
    for _ in range(_STEPS):
        rest = warped(Slid(x, y, angle)).reshape(-1)[steps.rows] - flat
        weight = 1 / (1 + np.square(rest / _FAR))
        weighted = jacobian * weight[:, None]
        curvature = weighted.T @ jacobian + 1e-6 * np.eye(jacobian.shape[1])
        step = np.linalg.solve(curvature, weighted.T @ rest)
        turn = math.degrees(float(step[2])) if turned else 0.0
        angle -= turn
        across, down = turned_by(angle, float(step[0]), float(step[1]))
        x, y = x - across, y - down
        if max(abs(across), abs(down), abs(math.radians(turn)) * reach) < _STILL:
            break
    return Slid(x, y, angle)


def steps_of(layers: Floats, judged: Floats | None = None) -> Steps:
    """Return what steps change of the pixels of (h, w, c) layers, or of those alone that are `judged`, (h, w)."""
    height, width = layers.shape[:2]
    down = np.gradient(layers, axis=0)
    across = np.gradient(layers, axis=1)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    y, x = (y - (height - 1) / 2)[..., None], (x - (width - 1) / 2)[..., None]
    changes = np.hypot(down, across) > _FLAT
    if judged is not None:
        changes &= judged[..., None] > 0.5
    rows = np.flatnonzero(changes)
    jacobian = np.stack([across, down, x * down - y * across], axis=-1).reshape(-1, 3)[rows]
    return Steps(rows, jacobian.astype(np.float32))


def laid_upright(layers: Floats, place: Slid, height: int, width: int, *, left: int = 0, top: int = 0) -> Floats:
    """Return height × width pixels of (h, w[, c]) layers, upright about `place`; beyond the layers, zero.

    The layers' top left pixel is at (left, top) of the picture that `place` is measured in.
    """
    turn = np.array([turned_by(place.angle, 1, 0), turned_by(place.angle, 0, 1)]).T
    middle = np.array([(width - 1) / 2, (height - 1) / 2])
    shift = np.array([place.x - left - 0.5, place.y - top - 0.5]) - turn @ middle
    return np.asarray(
        cv2.warpAffine(
            layers,
            np.column_stack([turn, shift]),
            (width, height),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_CONSTANT,
        )
    )


def shown_share(weights: Floats, place: Slid, size: tuple[int, int]) -> float:
    """Return the share of the (h, w) weights of an upright picture at `place` that one of `size` (H, W) shows."""
    seen = laid_upright(np.ones(size, dtype=np.float32), place, *weights.shape)
    return float((seen * weights).sum() / max(float(weights.sum()), 1e-6))


def turned_by(angle: float, x: float, y: float) -> tuple[float, float]:
    """Return a vector turned by so many degrees from x to y."""
    cosine, sine = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    return cosine * x - sine * y, sine * x + cosine * y
