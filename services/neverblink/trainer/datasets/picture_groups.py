"""Which pictures belong together: of one item, folder or minute. They are one witness, however many they are."""

import re
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt

from neverblink.trainer.datasets.labelled_image import DatasetError
from neverblink.trainer.datasets.settings import FOLDER, MINUTE
from neverblink.vision.copies import Groups, joined_groups

_NAMED = 3

_CLOCK = re.compile(
    r"(?<!\d)(20\d\d)[-_.]?([01]\d)[-_.]?([0-3]\d)[T_ -]?([0-2]\d)[-_.:h]?([0-5]\d)(?:[-_.:m]?[0-5]\d(?:\d{3})?)?(?!\d)"
)
_EPOCH = re.compile(r"(?<!\d)(1[4-9]\d{8})(?:\d{3})?(?!\d)")
_UUID7 = re.compile(r"(?<![0-9a-f])([0-9a-f]{8})-([0-9a-f]{4})-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


@dataclass(frozen=True, slots=True)
class PictureGroups:
    """The `group` (n,) int64 of each picture, counted from 0 in order, and the rule that they were made `by`.

    `by` is None where only copies were joined. Copies share a group in any case.
    """

    group: Groups
    by: str | None = None

    @property
    def count(self) -> int:
        """Return how many groups there are."""
        return int(self.group.max()) + 1 if len(self.group) else 0


def group_pictures(paths: Sequence[Path], root: Path, by: str, copies: Groups | None = None) -> PictureGroups:
    """Group pictures by a rule of `GroupBy`; `copies` (n,) share a group whatever the rule says.

    folder: the folder that a picture lies in. minute: the clock minute of the time in its name, or of the file's last
    change where no name has one. Else what the brackets of a regular expression catch in its path below `root`, found
    anywhere in it. Raises DatasetError where a rule does not fit, puts each picture on its own or all of them together.
    """
    keys = _keys(paths, root, by)
    label = _numbered(keys)
    count = int(label.max()) + 1
    if count == len(paths):
        raise DatasetError(
            f"--group-by {by} groups nothing: each of the {len(paths)} pictures is alone, such as"
            f" {below(paths[0], root)}{_of(by, keys[0])}; leave it out where each picture is of another part"
        )
    if count == 1:
        raise DatasetError(
            f"--group-by {by} puts all {len(paths)} pictures into one group{_of(by, keys[0])}, and a promise needs"
            f" several: {_HINT.get(by, 'its brackets must catch what differs from item to item')}"
        )
    joined = label if copies is None else joined_groups(label, copies)
    if int(joined.max()) == 0:
        raise DatasetError(
            f"--group-by {by} makes {count} groups of {len(paths)} pictures, but copies tie all of them together: give"
            " each picture once, or pictures of different items"
        )
    return PictureGroups(joined, by)


_HINT = {
    FOLDER: "sort the pictures into a folder an item, or name what differs by a regular expression",
    MINUTE: "files that were copied have lost their times; name what differs by a regular expression",
}


def times_in_names(paths: Sequence[Path]) -> list[float | None]:
    """Return the seconds since 1970 that names tell: 20261129-180645, 1764439605(123), or an id of version 7."""
    return [_time_in(path.name) for path in paths]


def sizes(group: Groups) -> tuple[int, int]:
    """Return how many pictures the smallest and the largest group have."""
    counted = np.bincount(group)
    return int(counted.min()), int(counted.max())


def _keys(paths: Sequence[Path], root: Path, by: str) -> list[Hashable]:
    if by == FOLDER:
        return [below(path.parent, root) for path in paths]
    if by == MINUTE:
        return [int(seconds // 60) for seconds in _times(paths)]
    found = [re.search(by, below(path, root)) for path in paths]
    without = [path for path, match in zip(paths, found, strict=True) if match is None]
    if without:
        named = ", ".join(below(path, root) for path in without[:_NAMED])
        raise DatasetError(
            f"--group-by {by} matches {len(paths) - len(without)} of {len(paths)} pictures, and not {named}: the"
            " expression is looked for in the path below the folder of images"
        )
    return [match.groups() for match in found if match is not None]


def _times(paths: Sequence[Path]) -> list[float]:
    named = times_in_names(paths)
    told = [seconds for seconds in named if seconds is not None]
    if len(told) == len(paths):
        return told
    if told:
        without = next(path for path, seconds in zip(paths, named, strict=True) if seconds is None)
        raise DatasetError(
            f"--group-by minute: the names of {len(told)} of {len(paths)} pictures tell a time, that of {without.name}"
            " does not; name all of them so, or group by a regular expression"
        )
    try:
        return [path.stat().st_mtime for path in paths]
    except OSError as error:
        raise DatasetError(f"--group-by minute: {error.filename} cannot be read: {error.strerror}") from error


def _time_in(name: str) -> float | None:
    clock = _CLOCK.search(name)
    if clock is not None:
        year, month, day, hour, minute = (int(part) for part in clock.groups())
        try:
            return datetime(year, month, day, hour, minute, tzinfo=UTC).timestamp()
        except ValueError:
            return None
    epoch = _EPOCH.search(name)
    if epoch is not None:
        return float(epoch[1])
    frame = _UUID7.search(name.lower())
    return None if frame is None else int(frame[1] + frame[2], 16) / 1000


def _numbered(keys: Sequence[Hashable]) -> Groups:
    first: dict[Hashable, int] = {}
    return np.array([first.setdefault(key, len(first)) for key in keys], dtype=np.int64)


def below(path: Path, root: Path) -> str:
    """Return what a picture is called: its path below the folder of images, where it lies there."""
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()


def _of(by: str, key: Hashable) -> str:
    if by == MINUTE and isinstance(key, int):
        return f" ({datetime.fromtimestamp(60 * key, UTC):%Y-%m-%d %H:%M} UTC)"
    return f" ({', '.join(map(str, key))})" if isinstance(key, tuple) else f" ({key})"


# Proposals: what looks grouped is said, and never grouped in silence


ALIKE = 0.5
"""Pictures that differ from others of their group by less than this share of what any two differ by are of one item."""

_FEWEST = 8
_PATTERNS = (r"([^/]*?\d+)[^/\d][^/]*\.\w+$", r"([^/]*)[^\d/]\d+[^\d/]*\.\w+$")
"""The name up to its first number, and up to its last."""


def proposal(
    paths: Sequence[Path],
    root: Path,
    thumbnails: npt.NDArray[np.float32],
    copies: Groups,
    promise: Callable[[int], str],
) -> str | None:
    """Return in a sentence how pictures look grouped, None where they do not.

    Folders are what a person made, and are always named. What names and times say is named where pictures of a group
    are much more alike than others, by their (n, d) `thumbnails`; copies do not count. `promise` says what so many
    groups can promise.
    """
    _, kept = np.unique(copies, return_index=True)
    if len(kept) < _FEWEST:
        return None
    apart = thumbnails[kept] - thumbnails[kept].mean(axis=0)
    spread = _mean_square(apart, np.zeros(len(kept), dtype=np.int64))
    if spread <= 0:
        return None
    for by in (FOLDER, MINUTE, *_PATTERNS):
        if by == MINUTE and any(seconds is None for seconds in times_in_names(paths)):
            continue
        try:
            found = group_pictures(paths, root, by, copies)
        except DatasetError:
            continue
        own = found.group[kept]
        if 2 * found.count > len(paths) or (by != FOLDER and _mean_square(apart, own) > ALIKE * spread):
            continue
        return _proposed(paths, root, found, promise)
    order = np.argsort([_natural(paths[place]) for place in kept.tolist()])
    steps = np.diff(apart[order], axis=0)
    if len(steps) and float((steps * steps).sum(axis=1).mean()) < ALIKE * spread:
        return (
            "pictures that follow one another by name are much more alike than others: where several are of one item,"
            " sort them into a folder an item and add --group-by folder, or the promise counts one item several times"
        )
    return None


def _proposed(paths: Sequence[Path], root: Path, found: PictureGroups, promise: Callable[[int], str]) -> str:
    fewest, most = sizes(found.group)
    each = f"{fewest}" if fewest == most else f"{fewest} to {most}"
    largest = int(np.bincount(found.group).argmax())
    one = paths[int(np.flatnonzero(found.group == largest)[0])]
    such = below(one.parent, root) if found.by == FOLDER else one.name
    what = {FOLDER: "folders", MINUTE: "minutes"}.get(found.by or "", "groups by name")
    return (
        f"these pictures look grouped: {found.count} {what} of {each} pictures each, such as {such}. Where a group is"
        f" one item or lot, its pictures are one witness: add --group-by {_quoted(found.by or '')}, which would promise"
        f" {promise(found.count)} from {found.count} groups"
    )


def _quoted(by: str) -> str:
    return by if by in (FOLDER, MINUTE) else f"'{by}'"


def _mean_square(vectors: npt.NDArray[np.float32], group: Groups) -> float:
    """Return the mean squared distance of two different pictures of one group."""
    total, pairs = 0.0, 0
    energy = (vectors * vectors).sum(axis=1)
    for own in (np.flatnonzero(group == one) for one, size in Counter(group.tolist()).items() if size > 1):
        whole = vectors[own].sum(axis=0)
        total += 2 * (len(own) * float(energy[own].sum()) - float(whole @ whole))
        pairs += len(own) * (len(own) - 1)
    return total / pairs if pairs else float("inf")


def _natural(path: Path) -> str:
    """Return what puts part-9 before part-10."""
    return re.sub(r"\d+", lambda number: number[0].zfill(20), path.as_posix())
