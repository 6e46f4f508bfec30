"""Which pictures are copies of one another: a picture taken once is one witness, however often it lies in a folder."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

NEAR = 0.15
"""Two pictures are near copies when their thumbnails differ by less than this share of what tells the set's pictures
from their mean.

Measured: pictures saved anew as JPEG of quality 75 differ by 0.14 at most, with two grey levels of noise by 0.09,
scaled to nine tenths by 0.15 (by 0.2 where edges are as fine as pixels). Different PCBs, transistors and hazelnuts
differ by 0.54 at least, the closest two of 400 simulated boards on a fixture by 0.28, of 400 discs by 0.21. Among 762
magnetic tiles the pairs below show one tile that was photographed twice.
"""

CODECS = 0.4
"""Grey levels by which thumbnails of one picture differ at most, in the mean of squares.

Measured on plates and brackets that lie anyhow: saved anew as JPEG of quality 50 by 0.38, with two grey levels of noise
by 0.11, scaled by a tenth by 0.28; the closest two of 300 brackets by 1.9.
"""

_SIDE = 32
_FINE_SIDE = 96
_SMOOTHING = 1.5
"""Pixels of the finer thumbnail: what codecs and scaling do to edges stays below the bound."""

_ROWS = 512

Groups = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What a picture is recognised by: the digest of its size and pixels, and a (1024,) float32 `thumbnail`."""

    pixels: bytes
    thumbnail: npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Copies:
    """The `group` (n,) int64 of each picture, counted from 0 in order; of two copies the first stands for both.

    `equal` has a pair (picture, earlier one) for each that repeats an earlier one's pixels, `near` one for each that
    nearly does.
    """

    group: Groups
    equal: tuple[tuple[int, int], ...] = ()
    near: tuple[tuple[int, int], ...] = ()

    @property
    def different(self) -> int:
        """Return how many pictures there are when copies count once."""
        return int(self.group.max()) + 1 if len(self.group) else 0


def fingerprint(image: npt.NDArray[np.uint8]) -> Fingerprint:
    """Return what an (H, W, 3) uint8 RGB picture is recognised by."""
    digest = hashlib.sha256(repr(image.shape).encode())
    digest.update(np.ascontiguousarray(image).data)
    fine = cv2.resize(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), (_FINE_SIDE, _FINE_SIDE), interpolation=cv2.INTER_AREA)
    return Fingerprint(digest.digest(), _small(fine, _SIDE, _SIDE).ravel())


def _small(fine: npt.NDArray[np.generic], height: int, width: int) -> npt.NDArray[np.float32]:
    smooth = cv2.GaussianBlur(fine.astype(np.float32), (0, 0), _SMOOTHING, borderType=cv2.BORDER_REFLECT)
    small = cv2.resize(smooth, (width, height), interpolation=cv2.INTER_AREA)
    return np.asarray(small - small.mean(), dtype=np.float32)


def upright_size(upright: tuple[int, int], picture: tuple[int, int]) -> tuple[int, int]:
    """Return (height, width) at which upright parts are given to `variety_of`: as small as a picture's thumbnail."""
    high, wide = (max(3, round(_FINE_SIDE * own / whole)) for own, whole in zip(upright, picture, strict=True))
    return high, wide


def variety_of(upright: Iterable[npt.NDArray[np.uint8]]) -> float:
    """Return what tells parts from their mean in thumbnails, as a squared distance, wherever they lie.

    `upright` are (h, w, 3) uint8 RGB parts of one `upright_size`.
    """
    greys = (cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in upright)
    shrink = _FINE_SIDE // _SIDE
    small = np.stack([_small(one, max(1, one.shape[0] // shrink), max(1, one.shape[1] // shrink)) for one in greys])
    return float(np.square(small - small.mean(axis=0)).sum(axis=(1, 2)).mean())


def find_copies(pictures: Sequence[Fingerprint], variety: float | None = None) -> Copies:
    """Return the groups of copies among a set's pictures: 4,000 take a second.

    What all pictures of a fixture show alike tells nothing, so they are compared by how each differs from their mean.
    Of two or three pictures that are all alike this leaves nothing to compare: equal pixels are found there too, near
    copies are not. Where parts lie anyhow it is mostly how they lie that tells pictures apart, and two parts that fell
    alike would be copies: `variety` is then what tells the parts apart.
    """
    first: dict[bytes, int] = {}
    same = np.array([first.setdefault(picture.pixels, index) for index, picture in enumerate(pictures)], dtype=np.int64)
    label = same
    near: list[tuple[int, int]] = []
    distinct = np.unique(same)
    if len(distinct) > 1:
        for later, earlier in _close(np.stack([pictures[index].thumbnail for index in distinct]), variety):
            label = _joined(label, distinct[later], distinct[earlier])
            which, at = np.unique(later, return_index=True)
            near += zip(distinct[which].tolist(), distinct[earlier[at]].tolist(), strict=True)
    return Copies(
        group=in_order(label),
        equal=tuple((index, earlier) for index, earlier in enumerate(same.tolist()) if index != earlier),
        near=tuple(near),
    )


def one_each(values: npt.NDArray[np.floating], group: Groups) -> npt.NDArray[np.float32]:
    """Return the highest of each group's (n,) values: a part that is seen several times is rejected by its worst."""
    highest = np.full(int(group.max()) + 1, -np.inf, dtype=np.float32)
    np.maximum.at(highest, group, values.astype(np.float32))
    return highest


def joined_groups(one: Groups, other: Groups) -> Groups:
    """Return the (n,) int64 groups, counted from 0 in order, in which both those of `one` and of `other` stay whole."""
    _, first = np.unique(other, return_index=True)
    return in_order(_joined(in_order(one), np.arange(len(one)), first[np.unique(other, return_inverse=True)[1]]))


def in_order(label: Groups) -> Groups:
    """Return labels counted from 0 in the order in which they come first."""
    _, begins, group = np.unique(label, return_index=True, return_inverse=True)
    return np.asarray(np.argsort(np.argsort(begins))[group], dtype=np.int64)


def _close(thumbnails: npt.NDArray[np.float32], variety: float | None) -> Iterator[tuple[Groups, Groups]]:
    """Yield the places (later, earlier) of (n, 1024) thumbnails that are closer than `NEAR`, some rows at a time."""
    own = thumbnails - thumbnails.mean(axis=0)
    energy = (own * own).sum(axis=1)
    for start in range(0, len(own), _ROWS):
        block = slice(start, start + _ROWS)
        apart = energy[block, None] + energy[None] - 2 * own[block] @ own.T
        bound = NEAR**2 * (energy[block, None] + energy[None]) / 2
        if variety is not None:
            bound = np.minimum(bound, max(NEAR**2 * variety, (CODECS * _SIDE) ** 2))
        rows, columns = np.nonzero(apart < bound)
        earlier = columns < rows + start
        yield rows[earlier] + start, columns[earlier]


def _joined(label: Groups, these: Groups, those: Groups) -> Groups:
    """Return the labels when each of `these` pictures belongs with that of `those`."""
    size = len(label)
    table = coo_array((np.ones(len(these), dtype=np.int8), (label[these], label[those])), shape=(size, size))
    return np.asarray(connected_components(table, directed=False)[1][label], dtype=np.int64)
