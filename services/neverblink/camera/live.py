"""Cameras that run by themselves: a thread of their own takes every picture as soon as it is there.

A decoder's queue is so never the place where a part's picture waits and grows old.
"""

import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol, cast

import numpy as np
from numpy.typing import NDArray

from neverblink import telemetry
from neverblink.camera.instruments import Instruments, instruments
from neverblink.camera.picture import Picture, SourceError, encoded
from neverblink.camera.picture_counter import PictureCounter
from neverblink.events import Reason
from neverblink.plant import GigeSource, LiveSettings, Payload
from neverblink.service_life.back_off import BackOff

# A camera that reboots needs half a minute; asking it every few seconds costs nothing.
_FIRST_WAIT_S = 0.25
_LONGEST_WAIT_S = 5.0
_READ_S = 0.5
_JOIN_S = 10.0
# At 30 a second the last eighth of a second: more than a trigger through OPC UA takes.
_KEPT = 4


@dataclass(frozen=True, slots=True)
class Shot:
    """A picture as the camera gave it: (H, W, 3) uint8 RGB or (H, W) uint8 grey.

    `at` is when it was taken, as well as the stream can tell, and at most `unsure_s` seconds too late. `count` is the
    camera's own counter and `taken_s` its own clock. `skipped` whole pictures before this one gave way to it.
    `fault` says why the picture cannot be used; then it has no pixels.
    """

    pixels: NDArray[np.uint8]
    at: datetime
    count: int | None = None
    unsure_s: float = 0.0
    taken_s: float | None = None
    skipped: int = 0
    fault: SourceError | None = None

    @classmethod
    def damaged(
        cls,
        at: datetime,
        fault: SourceError | str,
        *,
        count: int | None = None,
        taken_s: float | None = None,
        skipped: int = 0,
    ) -> "Shot":
        """Return what stands for a picture that arrived in part, or cannot be trusted; a sentence is CORRUPT_IMAGE."""
        known = SourceError(Reason.CORRUPT_IMAGE, fault) if isinstance(fault, str) else fault
        return cls(np.empty((0, 0), np.uint8), at, count, taken_s=taken_s, skipped=skipped, fault=known)

    @property
    def earliest(self) -> datetime:
        """The earliest instant at which the picture can have been taken."""
        return self.at - timedelta(seconds=self.unsure_s) if self.unsure_s else self.at

    def whole(self) -> NDArray[np.uint8]:
        """Return the pixels. Raises SourceError when the picture cannot be used."""
        if self.fault is not None:
            raise self.fault
        return self.pixels


@dataclass(frozen=True, slots=True)
class Arrival:
    """A picture that is a part, and how many pictures before it are lost."""

    shot: Shot
    lost: int = 0


class StreamEndedError(Exception):
    """A recording is through; nothing more will come."""


class Stream(Protocol):
    """An open connection to a camera. It is used by one thread."""

    def read(self, timeout_s: float) -> Shot | None:
        """Return the next picture, None when there was none for about `timeout_s`.

        Raises SourceError when the camera is gone, StreamEndedError when a recording is through; one bad picture is a
        Shot with a fault.
        """
        ...

    def close(self) -> None:
        """Let go of the camera."""
        ...


class FiredStream(Stream, Protocol):
    """An open connection to a camera that takes a picture when it is told to."""

    def fire(self) -> None:
        """Let the camera take a picture now; called by another thread than `read`. Raises SourceError."""
        ...


class LiveSource:
    """A camera that runs by itself, in a thread that begins with the first call that needs it.

    For a station that is triggered, the newest few pictures are kept, and `grab` returns the one nearest to the
    trigger: a part that had to wait for its turn must not get the picture of the next one. For a station that its
    camera triggers (`every_bound` is set), `take` returns each picture once; when so many wait, the oldest is dropped
    and counted as lost with the next one.
    """

    def __init__(
        self,
        name: str,
        connect: Callable[[], Stream],
        settings: LiveSettings,
        payload: Payload,
        *,
        every_bound: int | None = None,
        labels: dict[str, str] | None = None,
        back_off: BackOff | None = None,
        measured: Instruments | None = None,
    ) -> None:
        """`name` is the station's, for the thread and the log; `connect` opens the camera or raises SourceError.

        The instruments `measured` are made where they are not given.
        """
        self._name = name
        self._connect = connect
        self._max_age = timedelta(milliseconds=settings.max_age_ms)
        self._wait = timedelta(milliseconds=settings.wait_ms)
        self._payload = payload
        self._every_bound = every_bound
        self._fires = isinstance(settings, GigeSource) and settings.software_trigger
        self._labels = labels or {}
        self._back_off = back_off or BackOff(_FIRST_WAIT_S, _LONGEST_WAIT_S)
        self._counter = PictureCounter()
        self._latest: Shot | None = None  # the thread's
        # What is warned of; each is counted by one thread.
        self._counts: Counter[str] = Counter()
        self._last_trigger: datetime | None = None
        self._changed = threading.Condition()
        # All below is guarded by `_changed`.
        self._newest: deque[Shot] = deque(maxlen=_KEPT)
        self._newest_at: datetime | None = None
        self._firing: FiredStream | None = None
        self._arrivals: deque[Arrival] = deque()
        self._away = "it is not connected yet"
        self._ended = False
        self._observer: Callable[[], None] = lambda: None
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._log = telemetry.logger("camera")
        self._measured = measured or instruments()

    @property
    def connected(self) -> bool:
        """Whether the camera answers."""
        with self._changed:
            return not self._away

    @property
    def ended(self) -> bool:
        """Whether nothing more will arrive: a recording is through, or the source is closed."""
        with self._changed:
            return self._ended

    def start(self, observer: Callable[[], None] | None = None) -> None:
        """Begin to take pictures; `observer` is called in the thread after each picture and change of state."""
        with self._changed:
            if observer is not None:
                self._observer = observer
            if self._thread is None and not self._ended:
                self._thread = threading.Thread(target=self._run, name=f"live-{self._name}", daemon=True)
                self._thread.start()

    def grab(self, number: int, at: datetime) -> Picture:
        """Return the picture nearest to the trigger at `at`, or wait for one. A picture serves one part only.

        Raises SourceError when none was taken between `max_age_ms` before the trigger and `wait_ms` after it, and when
        the nearest is damaged.
        """
        self.start()
        self._warn_of_close_triggers(at)
        give_up = time.monotonic() + self._wait.total_seconds()
        since = at - self._max_age
        if self._fires:
            since = max(since, self._fire(give_up))
        with self._changed:
            while True:
                shot = self._nearest(at, since)
                if shot is not None:
                    break
                left = give_up - time.monotonic()
                if self._ended or left <= 0:
                    raise SourceError(Reason.NO_IMAGE, self._why_none(at))
                self._changed.wait(left)
        self._measured.picture_offset.record((shot.at - at).total_seconds(), self._labels)
        return encoded(shot.whole(), self._payload)

    def _fire(self, give_up_s: float) -> datetime:
        """Let the camera take a picture, and return when it was told to. Raises SourceError."""
        with self._changed:
            while self._firing is None and not self._ended and (left := give_up_s - time.monotonic()) > 0:
                self._changed.wait(left)
            stream = self._firing
        if stream is None:
            raise SourceError(Reason.NO_IMAGE, f"the camera is away: {self._away}")
        told = now()
        stream.fire()
        return told

    def _nearest(self, at: datetime, since: datetime) -> Shot | None:
        """Take the part's picture out of those that are kept, and forget the older ones."""
        own = [shot for shot in self._newest if since <= shot.earliest and shot.at <= at + self._wait]
        if not own:
            return None
        nearest = min(own, key=lambda shot: abs(shot.at - at))
        while self._newest.popleft() is not nearest:
            pass
        return nearest

    def _warn_of_close_triggers(self, at: datetime) -> None:
        before, self._last_trigger = self._last_trigger, at
        window = self._max_age + self._wait
        if before is None or at - before >= window:
            return
        self._warn_rarely(
            "close calls",
            lambda _: (
                f"two parts came within {(at - before).total_seconds() * 1000:.0f} ms, and max_age_ms and wait_ms make"
                f" {window.total_seconds() * 1000:.0f} ms: where a picture is lost, its part could get the next one's"
            ),
        )

    def _warn_rarely(self, what: str, sentence: Callable[[int], str]) -> None:
        """Count it, and say so the 1st, 2nd, 4th, 8th … time; `sentence` is given how often it was."""
        self._counts[what] += 1
        if _is_power_of_two(times := self._counts[what]):
            self._log.warning(f"{self._name}: {sentence(times)}", extra={"fields": self._labels})

    def take(self) -> Arrival | None:
        """Return the picture that has waited longest, None when there is none now."""
        with self._changed:
            return self._arrivals.popleft() if self._arrivals else None

    def close(self) -> None:
        """Let go of the camera; what has arrived can still be taken."""
        self._stopping.set()
        thread = self._thread
        if thread is not None:
            thread.join(_JOIN_S)
        with self._changed:
            self._away = "the source is closed"
        self._tell(ended=True)

    def _why_none(self, at: datetime) -> str:
        if self._away:
            return f"the camera is away: {self._away}"
        waited = f"no other came within {self._wait.total_seconds():.2g} s"
        if self._newest_at is None:
            return f"the camera is connected and has sent no picture, and {waited}"
        before = (at - self._newest_at).total_seconds()
        if not self._newest and before <= self._max_age.total_seconds():
            return f"the camera's newest picture is the part's before, and {waited}"
        if before < 0:
            return (
                f"the camera's pictures came after the part had gone by, the last {-before:.3f} s after its trigger;"
                " do the clocks of the PLC and of this host agree?"
            )
        return f"the camera's newest picture came {before:.3f} s before the trigger, and {waited}"

    # The thread

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                stream = self._connect()
            except SourceError as error:
                self._lose(str(error))
            except Exception as error:  # noqa: BLE001 - the boundary: a driver may raise anything, and is asked again
                self._lose(repr(error))
            else:
                self._counter.restart()
                self._latest = None
                self._log.info(f"{self._name}: the camera is connected", extra={"fields": self._labels})
                if self._fires:
                    self._may_fire(cast(FiredStream, stream))
                self._tell(away="")
                if self._read_until_lost(stream):
                    break
            self._stopping.wait(self._back_off.next())
        self._tell(ended=True)

    def _read_until_lost(self, stream: Stream) -> bool:
        """Take pictures until the camera is gone; return whether a recording is through."""
        try:
            while not self._stopping.is_set():
                shot = stream.read(_READ_S)
                if shot is not None:
                    self._back_off.reset()
                    self._arrived(shot)
        except StreamEndedError:
            self._tell(away="the recording is through")
            return True
        except SourceError as error:
            self._lose(str(error))
        except Exception as error:  # noqa: BLE001 - the boundary: a driver may raise anything, and is connected anew
            self._lose(repr(error))
        finally:
            self._may_fire(None)
            stream.close()
        return False

    def _may_fire(self, stream: FiredStream | None) -> None:
        with self._changed:
            self._firing = stream
            self._changed.notify_all()

    def _arrived(self, shot: Shot) -> None:
        if self._is_repeated(shot):
            return
        lost = max(0, self._counter.lost_before(shot.count, uncounted=shot.fault is not None) - shot.skipped)
        if lost:
            self._measured.pictures_lost.add(lost, {**self._labels, "where": "camera"})
            self._warn_rarely(
                "gaps",
                lambda times: f"the camera counted {lost} pictures that did not arrive; gap {times} so far",
            )
        self._measured.pictures.add(1, self._labels)
        if shot.fault is not None:
            self._measured.pictures_damaged.add(1, self._labels)
        self._measured.picture_age.record((now() - shot.earliest).total_seconds(), self._labels)
        dropped = 0
        with self._changed:
            if self._every_bound is None:
                self._newest.append(shot)
                self._newest_at = shot.earliest
            else:
                self._arrivals.append(Arrival(shot, lost))
                if len(self._arrivals) > self._every_bound:
                    dropped = 1
                    oldest, next_ = self._arrivals.popleft(), self._arrivals.popleft()
                    self._arrivals.appendleft(Arrival(next_.shot, oldest.lost + 1 + next_.lost))
            self._changed.notify_all()
        if dropped:
            self._measured.pictures_lost.add(dropped, {**self._labels, "where": "node"})
            self._warn_rarely(
                "drops",
                lambda times: (
                    f"{self._every_bound} pictures wait to be looked at, and the oldest made room"
                    f" ({times} so far): the line is faster than this node"
                ),
            )
        self._observer()

    def _is_repeated(self, shot: Shot) -> bool:
        """Say whether the driver delivered an old buffer again: it is no part, and no other part's picture."""
        before = self._latest
        again = before is not None and shot.count is not None and before.count == shot.count
        same = again and before is not None and np.array_equal(before.pixels, shot.pixels)
        if shot.fault is not None or not self._counter.is_repeated(shot.count, shot.taken_s, same_pixels=same):
            self._latest = shot
            return False
        self._measured.pictures_repeated.add(1, self._labels)
        self._warn_rarely(
            "repeats",
            lambda times: f"the driver delivered picture {shot.count} again; it is thrown away ({times} so far)",
        )
        return True

    def _lose(self, sentence: str) -> None:
        with self._changed:
            news = self._away != sentence
        if news:  # once, not at each try
            self._log.error(f"{self._name}: the camera is away: {sentence}", extra={"fields": self._labels})
            self._measured.disconnects.add(1, self._labels)
        self._tell(away=sentence)

    def _tell(self, *, away: str | None = None, ended: bool = False) -> None:
        with self._changed:
            if away is not None:
                self._away = away
            self._ended = self._ended or ended
            self._changed.notify_all()
        self._observer()


def _is_power_of_two(count: int) -> bool:
    """Say whether to log the count-th time: the 1st, 2nd, 4th, 8th, so that a bad cable does not fill the disk."""
    return count & (count - 1) == 0


def now() -> datetime:
    """Return the instant at which a picture arrived."""
    return datetime.now(UTC)
