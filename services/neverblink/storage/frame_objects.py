"""The claim check: an image too large for a record lies in an object store, and its event says where.

The object is put before its event is sent, so an event never names an image that was not there.
"""

import contextlib
import hashlib
import posixpath
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Self

from neverblink.errors import NeverblinkError
from neverblink.events import Frame, Reason
from neverblink.plant import PlantError, Storage
from neverblink.storage.file_root import FileRoot, FileRootError, shortened

MAX_OBJECT_BYTES = 256 * 1024 * 1024
"""No camera image is larger; a larger object is neither put nor read."""

_SUFFIXES = {"image/png": ".png", "image/jpeg": ".jpg"}
_HOUR = "%Y-%m-%dT%H"


class ObjectError(NeverblinkError, RuntimeError):
    """An object could not be put or had; `reason` is the verdict's, the message says what to look at."""

    def __init__(self, reason: Reason, sentence: str) -> None:
        super().__init__(sentence)
        self.reason = reason


class ObjectStore:
    """A folder or an fsspec URL that camera nodes and scorers share. Its methods block: call them in a thread.

    Keys are `HOUR/LINE/STATION/FRAME.SUFFIX`, so that what is old is found without listing what is not.
    """

    def __init__(self, url: str) -> None:
        """Take the store at `url`. Raises PlantError when no installed package knows it."""
        try:
            self._root = FileRoot.at(url)
        except FileRootError as error:
            raise PlantError(f"storage.objects is {url!r}, and it cannot be used: {error}") from error
        self._filesystem = self._root.filesystem

    @classmethod
    def of(cls, storage: Storage) -> Self | None:
        """Return the plant's object store, None where it has none."""
        return None if storage.objects is None else cls(storage.objects)

    def put(self, frame: Frame) -> Frame:
        """Put a frame's image and return the frame that refers to it. Raises ObjectError."""
        if len(frame.body) > MAX_OBJECT_BYTES:
            raise ObjectError(
                Reason.IMAGE_TOO_LARGE,
                f"the image has {len(frame.body)} bytes, and an object may have {MAX_OBJECT_BYTES}",
            )
        hour = frame.captured.astimezone(UTC).strftime(_HOUR)
        suffix = _SUFFIXES.get(frame.content_type, ".bin")
        path = f"{self._root.path}/{hour}/{frame.line}/{frame.station}/{frame.id}{suffix}"
        try:
            # A part waits for its verdict, and forcing 4 MB to a disk takes 40 ms. A machine that loses power may leave
            # an image without its digest: the verdict says so.
            self._root.write(path, frame.body, forced=False)
        except Exception as error:  # each kind of store raises errors of its own
            raise ObjectError(
                Reason.STORE_AWAY, f"the image could not be put to the object store: {shortened(error)}"
            ) from error
        return frame.model_copy(update={"dataref": self._root.location(path), "body": b""})

    def get(self, frame: Frame, max_bytes: int = MAX_OBJECT_BYTES) -> bytes:
        """Return the image that a frame refers to, checked against its size and digest. Raises ObjectError.

        Only what lies in this store is read: an event must not make a scorer open other files or addresses.
        """
        assert frame.dataref is not None
        path = self._inside(frame.dataref)
        if frame.size > max_bytes:
            raise ObjectError(
                Reason.IMAGE_TOO_LARGE, f"the frame states {frame.size} bytes, and an image may have {max_bytes}"
            )
        try:
            with self._filesystem.open(path, "rb") as file:
                body = bytes(file.read(frame.size + 1))
        except FileNotFoundError as error:
            raise ObjectError(
                Reason.OBJECT_MISSING, f"there is no object {frame.dataref}; was it deleted before it was scored?"
            ) from error
        except Exception as error:  # each kind of store raises errors of its own
            raise ObjectError(
                Reason.OBJECT_MISSING, f"the object {frame.dataref} cannot be read: {shortened(error)}"
            ) from error
        if len(body) != frame.size or hashlib.sha256(body).hexdigest() != frame.sha256:
            raise ObjectError(
                Reason.DIGEST_MISMATCH, f"the object {frame.dataref} is not the image whose digest its frame states"
            )
        return body

    def sweep(self, keep: timedelta, now: datetime) -> int:
        """Delete the hours that ended before `now - keep`; return how many. Raises ObjectError."""
        too_old = now.astimezone(UTC) - keep - timedelta(hours=1)
        try:
            found = list(self._hours())
            old = [path for path, hour in found if hour <= too_old]
            for path in old:
                with contextlib.suppress(FileNotFoundError):  # another node sweeps too
                    self._filesystem.rm(path, recursive=True)
        except Exception as error:  # each kind of store raises errors of its own
            raise ObjectError(
                Reason.STORE_AWAY, f"old images could not be deleted from the object store: {shortened(error)}"
            ) from error
        return len(old)

    def _hours(self) -> Iterator[tuple[str, datetime]]:
        """Yield the store's hour folders; anything else in it is not ours to delete."""
        self._filesystem.invalidate_cache(self._root.path)
        try:
            names = self._filesystem.ls(self._root.path, detail=False)
        except FileNotFoundError:
            return
        for path in names:
            with contextlib.suppress(ValueError):
                hour = datetime.strptime(posixpath.basename(str(path).rstrip("/")), _HOUR).replace(tzinfo=UTC)
                yield str(path), hour

    def _inside(self, dataref: str) -> str:
        path = self._root.inside(dataref)
        if path is None:
            raise ObjectError(Reason.OBJECT_MISSING, f"{dataref} does not lie in the plant's object store")
        return path


def body_of(frame: Frame, store: ObjectStore | None) -> bytes:
    """Return a frame's image as it was published: from its body, or from the store that its claim check names.

    It blocks where it asks the store. Raises ObjectError: no store, no object, or another digest than the frame states.
    """
    if frame.dataref is not None:
        if store is None:
            raise ObjectError(
                Reason.OBJECT_MISSING, f"the image lies at {frame.dataref} and the plant file has no storage.objects"
            )
        return store.get(frame)
    if hashlib.sha256(frame.body).hexdigest() != frame.sha256:
        raise ObjectError(Reason.DIGEST_MISMATCH, "the image does not have the digest that its frame states")
    return frame.body
