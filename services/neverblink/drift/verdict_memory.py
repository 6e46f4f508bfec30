"""Which verdicts of a station were taken lately, so that a second one about the same frame counts nothing. Pure.

A verdict's id is a function of its frame, so two scorers that answer for one frame, with two models perhaps, say the
same id. The one that lies first in the partition stands.

Of each id 8 bytes of a hash are kept, of the newest `KEPT` ids of a station in a partition, and up to which offset they
go. They lie in pages, of which only the newest changes, so that a verdict costs at most some 500 bytes to write. A page
is written after the states that count its verdicts: a record up to `until` was counted or was a second one, and what
comes again behind it is counted by its state's marks and remembered here.
"""

import struct
from functools import lru_cache
from hashlib import blake2b
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt

from neverblink.events import Verdict

IDS = b"ids:"
KEPT = 4096
"""As many as the bridge remembers parts of a line; at ten parts a second the last seven minutes of a station."""
PAGE = 64
_PAGES = KEPT // PAGE
_HEAD = struct.Struct("<qq")
_LAST_NUMBER = 1 << 48


class MemoryKey(NamedTuple):
    """Whose memory it is. Order holds within a partition alone, and a station's verdicts share one, keyed by line."""

    line: str
    station: str
    partition: int

    @classmethod
    def of(cls, verdict: Verdict, partition: int) -> Self:
        """Return where a verdict that lies in that partition is remembered."""
        return cls(verdict.line, verdict.station, partition)

    @classmethod
    def from_page(cls, raw: bytes) -> Self:
        """Read the key of a page. Raises ValueError for another."""
        line, station, place = raw.removeprefix(IDS).decode().split("/")
        return cls(line, station, int(place.split(".")[0]))

    def page(self, number: int) -> bytes:
        """Return the table's key of the page that holds the id of that number."""
        return IDS + f"{self.line}/{self.station}/{self.partition}.{number // PAGE % _PAGES}".encode()


class VerdictMemory:
    """The newest ids of one station in one partition, and the offset of the newest that was remembered."""

    def __init__(self) -> None:
        self.until = -1
        self._count = 0
        self._unwritten: list[int] = []
        self._ids = np.zeros(PAGE, dtype="<u8")

    def has_seen(self, verdict_id: str) -> bool:
        """Say whether a verdict of this id is remembered."""
        return bool(np.count_nonzero(self._ids[: self._count] == _hashed(verdict_id)))

    def remember(self, verdict_id: str, offset: int) -> None:
        """Take an id that was not seen, at its offset."""
        if self._count == len(self._ids) < KEPT:
            self._ids = np.concatenate([self._ids, np.zeros_like(self._ids)])
        self._ids[self._count % KEPT] = _hashed(verdict_id)
        self._count += 1
        self._unwritten.append(offset)
        self.until = offset

    def forget_offsets(self, end: int) -> None:
        """Take no offset for true that lies beyond the partition's end; the ids stay: their verdicts are counted."""
        if self.until >= end:
            self.until = -1

    def unwritten(self, key: MemoryKey) -> dict[bytes, bytes]:
        """Return the pages that have changed since the last call, in the order in which they must be written."""
        written = self._count - len(self._unwritten)
        oldest = max(0, self._count - KEPT)
        pages = {}
        for first in range(max(written, oldest + -oldest % PAGE) // PAGE * PAGE, self._count, PAGE):
            end = min(first + PAGE, self._count)
            head = _HEAD.pack(first, self._unwritten[end - 1 - written])
            at = first % KEPT
            pages[key.page(first)] = head + self._ids[at : at + end - first].tobytes()
        self._unwritten.clear()
        return pages

    @classmethod
    def from_pages(cls, pages: dict[bytes, bytes], damaged: list[tuple[bytes, str]]) -> Self:
        """Read what `unwritten` returned, of one memory; pages that cannot be read are named in `damaged`."""
        found: dict[int, tuple[int, npt.NDArray[np.uint64]]] = {}
        for raw, page in pages.items():
            read = _read(page)
            if read is None:
                damaged.append((raw, f"{len(page)} bytes that are no page of ids"))
            else:
                found[read[0]] = read[1:]
        memory = cls()
        if found:
            newest = max(found)
            memory.until, ids = found[newest]
            memory._count = newest + len(ids)
            while len(memory._ids) < min(KEPT, memory._count):
                memory._ids = np.concatenate([memory._ids, np.zeros_like(memory._ids)])
            for first, (_, ids) in sorted(found.items()):
                if first > newest - KEPT:
                    memory._ids[first % KEPT : first % KEPT + len(ids)] = ids
        return memory


def _read(page: bytes) -> tuple[int, int, npt.NDArray[np.uint64]] | None:
    """Return the number of its first id, the offset of its last and its ids; None for what is no page."""
    size = len(page) - _HEAD.size
    if size % 8 or not 0 < size <= 8 * PAGE:
        return None
    first, until = _HEAD.unpack_from(page)
    if first % PAGE or not 0 <= first < _LAST_NUMBER:
        return None
    return first, until, np.frombuffer(page, dtype="<u8", offset=_HEAD.size)


@lru_cache(maxsize=1)  # a verdict is looked for, and then remembered
def _hashed(verdict_id: str) -> int:
    return int.from_bytes(blake2b(verdict_id.encode(), digest_size=8).digest(), "little")
