"""From a frame's bytes to what the networks take, in threads of its own, the earliest deadline first."""

import asyncio
import heapq
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from neverblink.events import Frame, Reason
from neverblink.kafka.objects import ObjectError, ObjectStore, body_of
from neverblink.scorer.models import Model
from neverblink.scorer.work import UnscorableError
from neverblink.vision.decode import Image, ImageError, decode
from neverblink.vision.inspector import Prepared

NEVER = float("inf")
"""The deadline of what no part waits for."""

_REASONS = {reason.value: reason for reason in Reason}


class DecodePool:
    """Decodes, resizes, crops and cuts `workers` frames at a time; the others wait in order of their deadlines.

    Resizing belongs here: in the compute thread it cut 3958 images/s of an H100 to 686, in batches of 32.
    """

    def __init__(self, objects: ObjectStore | None, *, workers: int) -> None:
        """`objects` has the images that do not travel in their frames."""
        self._objects = objects
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="decode")
        self._free = workers
        # Bounded by what the fetcher and the statistics have in hand.
        self._waiting: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = 0

    async def prepared(self, frame: Frame, model: Model, *, deadline: float) -> Prepared:
        """Return the image of a frame, prepared for its model. Raises UnscorableError, VisionError."""
        return await self._run(deadline, lambda: model.inspector.prepare_defects(decoded(frame, self._objects)))

    async def prepared_again(self, image: Image, model: Model) -> Prepared:
        """Return an (H, W, 3) uint8 RGB image, prepared for another model, when no frame waits. Raises VisionError."""
        return await self._run(NEVER, lambda: model.inspector.prepare_defects(image))

    def close(self) -> None:
        """End the threads; what has not begun never does."""
        self._threads.shutdown(wait=True, cancel_futures=True)

    async def _run(self, deadline: float, work: Callable[[], Prepared]) -> Prepared:
        await self._turn(deadline)
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        finally:
            self._next()

    async def _turn(self, deadline: float) -> None:
        if self._free:
            self._free -= 1
            return
        self._order += 1
        turn = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (deadline, self._order, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._next()
            raise

    def _next(self) -> None:
        while self._waiting:
            _, _, turn = heapq.heappop(self._waiting)
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1


def decoded(frame: Frame, objects: ObjectStore | None) -> Image:
    """Return the frame's pixels, (H, W, 3) uint8 RGB, from its body or its object. Raises UnscorableError."""
    try:
        return decode(body_of(frame, objects), content_type=frame.content_type)
    except ObjectError as error:
        raise UnscorableError(error.reason, str(error)) from error
    except ImageError as error:
        raise UnscorableError(_REASONS.get(error.reason, Reason.CORRUPT_IMAGE), str(error)) from error
