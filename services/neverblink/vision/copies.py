"""Which pictures are copies of one another: a picture taken once is one witness, however often it lies in a folder."""

import hashlib
from collections.abc import Iterator, Sequence
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
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    fine = cv2.resize(grey, (_FINE_SIDE, _FINE_SIDE), interpolation=cv2.INTER_AREA)
    fine = cv2.GaussianBlur(fine, (0, 0), _SMOOTHING, borderType=cv2.BORDER_REFLECT)
    small = cv2.resize(fine, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
    return Fingerprint(digest.digest(), np.asarray(small - small.mean(), dtype=np.float32).ravel())


def find_copies(pictures: Sequence[Fingerprint]) -> Copies:
    """Return the groups of copies among a set's pictures: 4,000 take a second.

    What all pictures of a fixture show alike tells nothing, so they are compared by how each differs from their mean.
    Of two or three pictures that are all alike this leaves nothing to compare: equal pixels are found there too, near
    copies are not.
    """
    first: dict[bytes, int] = {}
    same = np.array([first.setdefault(picture.pixels, index) for index, picture in enumerate(pictures)], dtype=np.int64)
    label = same
    near: list[tuple[int, int]] = []
    distinct = np.unique(same)
    if len(distinct) > 1:
        for later, earlier in _close(np.stack([pictures[index].thumbnail for index in distinct])):
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


def _close(thumbnails: npt.NDArray[np.float32]) -> Iterator[tuple[Groups, Groups]]:
    """Yield the places (later, earlier) of (n, 1024) thumbnails that are closer than `NEAR`, some rows at a time."""
    own = thumbnails - thumbnails.mean(axis=0)
    energy = (own * own).sum(axis=1)
    for start in range(0, len(own), _ROWS):
        block = slice(start, start + _ROWS)
        apart = energy[block, None] + energy[None] - 2 * own[block] @ own.T
        rows, columns = np.nonzero(apart < NEAR**2 * (energy[block, None] + energy[None]) / 2)
        earlier = columns < rows + start
        yield rows[earlier] + start, columns[earlier]


def _joined(label: Groups, these: Groups, those: Groups) -> Groups:
    """Return the labels when each of `these` pictures belongs with that of `those`."""
    size = len(label)
    table = coo_array((np.ones(len(these), dtype=np.int8), (label[these], label[those])), shape=(size, size))
    return np.asarray(connected_components(table, directed=False)[1][label], dtype=np.int64)
