"""Events on disk, one file each, for the time after an outage: bounded, oldest first, never half-written."""

import contextlib
import hashlib
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import orjson

from neverblink.errors import NeverblinkError
from neverblink.events import Event, EventError, Frame, Verdict, decode, encode
from neverblink.storage.whole_file import PARTIAL, remove_partial, write_whole

_SUFFIX = ".event"
_DIGEST_BYTES = 64
# An event needs a source to be written; whoever sends it names its own.
_SOURCE = "/camera/spool"


class SpoolError(NeverblinkError, RuntimeError):
    """An event could not be kept; the message says why."""


@dataclass(frozen=True, slots=True)
class Spooled:
    """An event that was kept, and the trace that it belongs to."""

    event: Frame | Verdict
    trace: dict[str, str]
    file: str


@dataclass(frozen=True, slots=True)
class _Entry:
    file: str
    size: int


class Spool:
    """One folder of events. Used by one thread at a time; a folder has one owner.

    When it is full, the oldest events make room. A file gets its name when it is whole and begins with the digest of
    the rest, so what a crash or a full disk has cut short is found and dropped, not read.
    """

    def __init__(self, folder: Path, *, max_bytes: int, max_events: int) -> None:
        """Nothing is read or written before `open`."""
        self._folder = folder
        self._max_bytes = max_bytes
        self._max_events = max_events
        self._entries: deque[_Entry] = deque()
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    def open(self) -> None:
        """Make the folder and find what an earlier run has left. Raises SpoolError when it cannot be written."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            remove_partial(self._folder)
            found = [_Entry(path.name, path.stat().st_size) for path in sorted(self._folder.glob(f"*{_SUFFIX}"))]
            probe = self._folder / f"probe{PARTIAL}"
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise SpoolError(f"the spool folder {self._folder} cannot be used: {error.strerror}") from error
        self._entries = deque(found)
        self.bytes = sum(entry.size for entry in found)

    def put(self, event: Frame | Verdict, trace: Mapping[str, str]) -> int:
        """Keep an event; return how many older ones had to make room. Raises SpoolError when it cannot be kept."""
        content = _as_file(event, trace)
        if len(content) > self._max_bytes:
            raise SpoolError(f"its {len(content)} bytes are more than the whole spool may have, {self._max_bytes}")
        dropped = 0
        while self._entries and (len(self._entries) >= self._max_events or self.bytes + len(content) > self._max_bytes):
            self._remove(self._entries[0].file)
            dropped += 1
        name = f"{_millis(event.occurred):013d}-{event.id}{_SUFFIX}"
        try:
            write_whole(self._folder / name, content)
        except OSError as error:
            raise SpoolError(f"the spool folder {self._folder} cannot be written: {error.strerror}") from error
        self._entries.append(_Entry(name, len(content)))
        self.bytes += len(content)
        return dropped

    def oldest(self) -> Spooled | None:
        """Return the oldest event, None when there is none. Raises SpoolError after dropping one that is damaged."""
        while self._entries:
            file = self._entries[0].file
            try:
                content = (self._folder / file).read_bytes()
            except FileNotFoundError:
                self._remove(file)  # somebody tidied up
                continue
            except OSError as error:
                self._remove(file)
                raise SpoolError(f"the spooled event {file} cannot be read and is dropped: {error.strerror}") from error
            try:
                event, trace = _from_file(content)
            except (ValueError, KeyError, TypeError) as error:
                self._remove(file)
                raise SpoolError(f"the spooled event {file} is damaged and is dropped: {error}") from error
            return Spooled(event, trace, file)
        return None

    def remove(self, spooled: Spooled) -> None:
        """Forget an event that has been sent."""
        self._remove(spooled.file)

    def _remove(self, file: str) -> None:
        with contextlib.suppress(OSError):  # what cannot be deleted is sent again after a restart: readers deduplicate
            (self._folder / file).unlink(missing_ok=True)
        for entry in self._entries:
            if entry.file == file:
                self._entries.remove(entry)
                self.bytes -= entry.size
                return


def _as_file(event: Event, trace: Mapping[str, str]) -> bytes:
    message = encode(event, source=_SOURCE, trace=trace)
    head = orjson.dumps([[name, value.decode()] for name, value in message.headers])
    rest = b"\n" + head + b"\n" + message.value
    return hashlib.sha256(rest).hexdigest().encode() + rest


def _from_file(content: bytes) -> tuple[Frame | Verdict, dict[str, str]]:
    """Read an event back. Raises ValueError for a file that is not what was written."""
    digest, rest = content[:_DIGEST_BYTES], content[_DIGEST_BYTES:]
    if hashlib.sha256(rest).hexdigest().encode() != digest:
        raise EventError("it does not have its digest")
    _, head, value = rest.split(b"\n", 2)
    headers = [(name, text.encode()) for name, text in orjson.loads(head)]
    kinds: tuple[type[Event], ...] = (Frame, Verdict)
    event, envelope = decode(headers, value, *kinds)
    assert isinstance(event, (Frame, Verdict))
    return event, envelope.trace


def _millis(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)
