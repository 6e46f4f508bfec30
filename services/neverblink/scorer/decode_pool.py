"""From a frame's bytes to what the networks take, in threads of its own, the earliest deadline first."""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass

from neverblink.events import Frame, Reason
from neverblink.scorer.models import Model
from neverblink.scorer.pixel_room import PixelRoom, pixel_bytes
from neverblink.scorer.work import UnscorableError
from neverblink.storage.frame_objects import ObjectError, ObjectStore, body_of
from neverblink.vision.alignment.aligner import NotFoundError
from neverblink.vision.decode import Image, ImageError, decode
from neverblink.vision.inspector import Prepared

_NEVER = float("inf")
"""The deadline of what no part waits for."""

_PLENTY = 10
_SMOOTHING = 0.1

_REASONS = {reason.value: reason for reason in Reason}


class DecodePool:
    """Decodes, resizes, crops and cuts `workers` frames at a time; the others wait in order of their deadlines.

    Where all that waits would be decoded in a tenth of the time that is left, stations take turns instead: a backlog
    whose deadlines are earlier, but far, delays nobody.

    No frame is decoded while those decoded before it hold `max_bytes`: at most `workers` images lie above that.

    Resizing belongs here: in a compute thread it cut 3958 images/s of an H100 to 686, in batches of 32.
    """

    def __init__(
        self,
        objects: ObjectStore | None,
        *,
        workers: int,
        max_bytes: int,
        depths: Mapping[tuple[str, str], int] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`objects` has the images that do not travel in their frames; `clock` gives seconds, as deadlines are.

        `depths` are the bits that 16-bit pictures of (line, station) use, where the plant file states them; elsewhere
        the model's own count.
        """
        self._clock = clock
        self._workers = workers
        self._objects = objects
        self._depths = depths or {}
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="decode")
        self._free = workers
        self._room = PixelRoom(max_bytes)
        self._room.on_freed(self._next)
        # Bounded by what the fetcher and the statistics have in hand. Who needs room waits apart from who needs none.
        self._waiting: list[_Turn] = []
        self._spare: deque[_Turn] = deque()
        self._seconds = 0.0
        # When each station's last frame began, counted in frames; as many entries as there are stations.
        self._served: dict[str, int] = {}
        self._begun = 0

    @property
    def held_bytes(self) -> int:
        """Return what the images in hand hold in memory."""
        return self._room.bytes

    @asynccontextmanager
    async def prepared(self, frame: Frame, model: Model, *, deadline: float) -> AsyncIterator[Prepared]:
        """Give the image of a frame, prepared for its model; it counts as decoded until the block is left.

        Raises UnscorableError, VisionError.
        """
        await self._turn(self._waiting, deadline, frame.key)
        with ExitStack() as held:
            try:
                began = time.perf_counter()
                made = await self._in_thread(lambda: _prepared(self._decoded(frame, model), model))
                self._seconds += _SMOOTHING * (time.perf_counter() - began - self._seconds)
                # Before the next begins: it must see that there is no room.
                held.enter_context(self._room.holding(pixel_bytes(made)))
            finally:
                self._end_turn()
            yield made

    async def prepared_spare(self, frame: Frame, model: Model, *, first: bool = False) -> Prepared:
        """Return the same when no frame waits, however much is decoded: the caller counts it.

        `first` goes before all else that is spare.
        """
        return await self._spared(lambda: _prepared(self._decoded(frame, model), model), first=first)

    async def prepared_again(self, image: Image, model: Model) -> Prepared:
        """Return an (H, W, 3) uint8 RGB image, prepared for another model, when no frame waits. Raises VisionError."""
        return await self._spared(lambda: _prepared(image, model))

    def close(self) -> None:
        """End the threads; what has not begun never does."""
        self._threads.shutdown(wait=True, cancel_futures=True)

    def _decoded(self, frame: Frame, model: Model) -> Image:
        return decoded(frame, self._objects, self._depths.get((frame.line, frame.station), model.depth))

    async def _spared(self, work: Callable[[], Prepared], *, first: bool = False) -> Prepared:
        await self._turn(self._spare, _NEVER, "", first=first)
        try:
            return await self._in_thread(work)
        finally:
            self._end_turn()

    async def _in_thread(self, work: Callable[[], Prepared]) -> Prepared:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    async def _turn(
        self, queue: "list[_Turn] | deque[_Turn]", deadline: float, station: str, *, first: bool = False
    ) -> None:
        turn = asyncio.get_running_loop().create_future()
        queue.insert(0 if first else len(queue), _Turn(deadline, station, turn))
        self._next()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._end_turn()
            raise

    def _end_turn(self) -> None:
        self._free += 1
        self._next()

    def _next(self) -> None:
        """Let those begin for whom there is a thread, and room."""
        while self._free:
            if self._waiting and not self._room.is_full:
                chosen = self._most_urgent()
            elif self._spare:
                chosen = self._spare.popleft()
            else:
                return
            if not chosen.begins.done():
                self._free -= 1
                chosen.begins.set_result(None)

    def _most_urgent(self) -> "_Turn":
        """Take the turn that comes next out of those that wait."""
        earliest = min(self._waiting, key=lambda one: one.deadline)
        through = len(self._waiting) * self._seconds / self._workers
        if earliest.deadline - self._clock() >= _PLENTY * through:
            earliest = min(self._waiting, key=lambda one: (self._served.get(one.station, 0), one.deadline))
        self._waiting.remove(earliest)
        self._begun += 1
        self._served[earliest.station] = self._begun
        return earliest


@dataclass(frozen=True, slots=True, eq=False)
class _Turn:
    """A frame that waits; `begins` is done when its turn has come."""

    deadline: float
    station: str
    begins: "asyncio.Future[None]"


def _prepared(image: Image, model: Model) -> Prepared:
    """Return what the networks take. Raises UnscorableError where the part is not found: then it is never judged."""
    try:
        return model.inspector.prepare_defects(image)
    except NotFoundError as error:
        raise UnscorableError(Reason.NOT_FOUND, str(error)) from error


def decoded(frame: Frame, objects: ObjectStore | None, depth: int | None = None) -> Image:
    """Return the frame's pixels, (H, W, 3) uint8 RGB, from its body or its object. Raises UnscorableError.

    `depth` are the bits that a 16-bit picture's values use.
    """
    try:
        return decode(body_of(frame, objects), content_type=frame.content_type, depth=depth)
    except ObjectError as error:
        raise UnscorableError(error.reason, str(error)) from error
    except ImageError as error:
        raise UnscorableError(_REASONS.get(error.reason, Reason.CORRUPT_IMAGE), str(error)) from error
