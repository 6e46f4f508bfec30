"""Puts images that are too large for a record into the object store, one after the other."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

from neverblink.events import Frame, Reason
from neverblink.storage.frame_objects import ObjectError, ObjectStore


class ClaimCheck:
    """One station's way to the object store, with a thread of its own: a slow store holds up no grab.

    The store has one image at a time. A put that nobody waits for any more is not followed by another until it is done,
    so that a store that hangs holds one image in memory and not all of them.
    """

    def __init__(self, objects: ObjectStore | None, max_inline_bytes: int, name: str) -> None:
        self._objects = objects
        self._max_inline_bytes = max_inline_bytes
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"put-{name.replace('/', '-')}")
        self._turn = asyncio.Lock()
        self._put: asyncio.Future[Frame] | None = None

    @property
    def has_store(self) -> bool:
        """Whether there is somewhere to put large images."""
        return self._objects is not None

    def is_needed(self, frame: Frame) -> bool:
        """Return whether the frame's image is too large for a record."""
        return len(frame.body) > self._max_inline_bytes

    async def checked(self, frame: Frame) -> Frame:
        """Return the frame as it is sent: a large image lies in the store. Raises ObjectError."""
        if not self.is_needed(frame):
            return frame
        if self._objects is None:
            raise ObjectError(Reason.IMAGE_TOO_LARGE, "the plant has no storage.objects")
        async with self._turn:
            if self._put is not None:
                await asyncio.wait({self._put})
            self._put = asyncio.get_running_loop().run_in_executor(self._thread, self._objects.put, frame)
            self._put.add_done_callback(_looked_at)
            return await asyncio.shield(self._put)

    def close(self) -> None:
        """Let go of the thread."""
        self._thread.shutdown(wait=False, cancel_futures=True)


def _looked_at(put: "asyncio.Future[Frame]") -> None:
    # One that failed after its frame's deadline has been told as such already.
    if not put.cancelled():
        put.exception()
