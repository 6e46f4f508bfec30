"""Parts as files for other programs, a page at a time: a file is as long as it must, memory holds a page."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, Literal

from neverblink.http_serving.asking import Asking, BusyError
from neverblink.records.part_files import COLUMNS, PAGE_ROWS, csv_rows, part_table
from neverblink.records.questions.part_filter import PartFilter
from neverblink.records.questions.parts import Part, PartsPage, parts

Kind = Literal["csv", "parquet"]

TOLD: Final = tuple(name for name in COLUMNS if name != "holdout")
"""The columns of a file. Which parts were drawn for people to judge blind is told to nobody who may have to."""

_MOST: Final = 2
_PATIENCE: Final = 60
_AGAIN_S: Final = 0.5


class Exports:
    """Counts the files that are being made, so that they leave the pages' questions their turn."""

    def __init__(self, most: int = _MOST) -> None:
        self._most = most
        self._now = 0

    @property
    def full(self) -> bool:
        """Say whether no more may be made now."""
        return self._now >= self._most

    @contextmanager
    def one(self) -> Iterator[None]:
        """Be one of them; whoever begins one looks first whether there is room."""
        self._now += 1
        try:
            yield
        finally:
            self._now -= 1


async def first_page(ask: Asking, wanted: PartFilter) -> PartsPage:
    """Return the first page: what cannot be asked is told before a file begins."""
    return await ask(lambda session: parts(session, wanted, order="oldest", limit=PAGE_ROWS))


async def file_of(
    kind: Kind, ask: Asking, wanted: PartFilter, first: PartsPage, exports: Exports
) -> AsyncIterator[bytes]:
    """Yield a file of the parts that fit, oldest first.

    What goes wrong on the way breaks the file off, which whoever gets it sees.
    """
    with exports.one():
        written = _csv() if kind == "csv" else _parquet()
        begin, rows, end = written
        yield begin()
        page = first
        while True:
            if page.parts:
                held = page.parts
                yield await asyncio.to_thread(rows, held)
            if page.next is None:
                break
            page = await _next(ask, wanted, page.next)
        yield await asyncio.to_thread(end)


async def _next(ask: Asking, wanted: PartFilter, cursor: str) -> PartsPage:
    """Return the next page; while the pages of people take all turns, it waits for its own, half a minute at most."""
    for _ in range(_PATIENCE):
        try:
            return await ask(lambda session: parts(session, wanted, order="oldest", limit=PAGE_ROWS, cursor=cursor))
        except BusyError:
            await asyncio.sleep(_AGAIN_S)
    raise BusyError("the records had no turn left for a file: ask again later")


_Written = tuple[Callable[[], bytes], Callable[[tuple[Part, ...]], bytes], Callable[[], bytes]]


def _csv() -> _Written:
    return (
        lambda: f"{','.join(TOLD)}\r\n".encode(),
        lambda rows: csv_rows(rows, TOLD, for_a_spreadsheet=True),
        lambda: b"",
    )


def _parquet() -> _Written:
    """Return what writes one Parquet file, a page a row group; what is written is taken out after each."""
    from pyarrow import parquet

    taken = _Taken()
    writer = parquet.ParquetWriter(taken, part_table((), TOLD).schema, compression="zstd")

    def rows(found: tuple[Part, ...]) -> bytes:
        writer.write_table(part_table(found, TOLD))
        return taken.take()

    def end() -> bytes:
        writer.close()
        return taken.take()

    return taken.take, rows, end


class _Taken:
    """A file that forgets what was taken out of it, and knows where it is."""

    closed = False

    def __init__(self) -> None:
        self._held = bytearray()
        self._place = 0

    def write(self, content: Any) -> int:
        self._held += content
        size = len(content)
        self._place += size
        return size

    def tell(self) -> int:
        return self._place

    def flush(self) -> None:
        """Nothing waits."""

    def close(self) -> None:
        self.closed = True

    def writable(self) -> bool:
        return True

    def readable(self) -> bool:
        return False

    def seekable(self) -> bool:
        return False

    def take(self) -> bytes:
        found = bytes(self._held)
        self._held.clear()
        return found
