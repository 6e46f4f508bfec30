"""Where pictures of a new product come from: a folder of this machine, an upload, the running line."""

import asyncio
import hashlib
import os
import re
import secrets
import shutil
import zipfile
import zlib
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Final

from neverblink.console.onboarding.products import OnboardingError

SUFFIXES: Final = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"})
_SIGNS: Final = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"BM", b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+", b"RIFF")
"""How files of these kinds begin. What is in them only a job decodes, in a process of its own."""

_ZIP: Final = b"PK\x03\x04"
_DEPTH: Final = 4
"""Folders that are kept of an uploaded path, the last ones: train/good, test/scratch, lot7."""

_MOST_FILES: Final = 20_000
_MOST_PICTURE: Final = 256 * 1024 * 1024
_FREE: Final = 1024**3
"""Bytes that stay free on the disk: accounts and audit may lie on it."""

_CHUNK: Final = 1024 * 1024
_NOT_PLAIN = re.compile(r"[^A-Za-z0-9._-]+")
_LISTED = 500


@dataclass(frozen=True, slots=True)
class Received:
    """What came of an upload: pictures that were kept, and files that were passed over."""

    kept: int
    passed_over: int


def folder_below(roots: Sequence[Path], wish: str) -> Path:
    """Return a folder of this machine that a person named, if it lies below one of the roots. Raises OnboardingError.

    Links are followed first: what they lead to must lie there too.
    """
    for root in roots:
        with suppress(OSError, ValueError, RuntimeError):
            base = root.resolve(strict=True)
            found = (base / wish).resolve(strict=True)
            if found.is_relative_to(base) and found.is_dir():
                return found
    raise OnboardingError(
        "there is no folder %(folder)s among those that pictures may be taken from", folder=wish[:200]
    )


def folders_in(roots: Sequence[Path], most: int = _LISTED) -> list[str]:
    """Return the roots and the folders in them, to choose from."""
    found: list[str] = []
    for root in roots:
        with suppress(OSError):
            found.append(str(root))
            found += sorted(str(one.path) for one in os.scandir(root) if one.is_dir() and not one.name.startswith("."))
    return found[:most]


def plain_path(name: str) -> PurePosixPath | None:
    """Return under which path a picture is kept, None for what is no picture by its name.

    Nothing of it leads elsewhere: every part is made of plain signs and begins with none.
    """
    *folders, last = re.split(r"[/\\]", name)
    stem, dot, suffix = last.rpartition(".")
    if not dot or f".{suffix.lower()}" not in SUFFIXES:
        return None
    plain = [found for folder in folders[-_DEPTH:] if (found := _plain(folder))]
    return PurePosixPath(*plain, f"{_plain(stem) or 'picture'}.{suffix.lower()}")


def _plain(part: str) -> str:
    return _NOT_PLAIN.sub("_", part).strip("._-")[-100:].lstrip("._-")


class Receiving:
    """Takes uploads into one product's folder; at most `upload` bytes each, `room` bytes on the disk for all.

    With `flat` there are no folders in it, and an upload has at most so many pictures.
    """

    def __init__(self, pictures: Path, everything: Path, upload: int, room: int, flat: int | None = None) -> None:
        self._flat = flat
        self._pictures, self._everything = pictures, everything
        self._upload, self._room = upload, room

    async def receive(self, name: str, body: AsyncIterator[bytes]) -> Received:
        """Keep a picture, or the pictures of a ZIP archive. Raises OnboardingError."""
        room = await asyncio.to_thread(self.left)
        path = self._pictures.parent / f".upload-{secrets.token_hex(8)}"
        size = 0
        try:
            file = await asyncio.to_thread(path.open, "xb")
            try:
                async for chunk in body:
                    size += len(chunk)
                    if size > self._upload:
                        raise OnboardingError(
                            "the upload is larger than %(most)s MiB: send it in parts", most=self._upload // 1024**2
                        )
                    if size > room:
                        raise self._full()
                    await asyncio.to_thread(file.write, chunk)
            finally:
                file.close()
            return await asyncio.to_thread(self._kept, path, name, room)
        except OSError as error:
            raise OnboardingError("the upload cannot be kept: %(reason)s", reason=error.strerror or error) from error
        finally:
            path.unlink(missing_ok=True)

    def _kept(self, path: Path, name: str, room: int) -> Received:
        with path.open("rb") as file:
            begins = file.read(16)
        if begins.startswith(_ZIP):
            return self._unpacked(path, room)
        place = plain_path(name)
        if place is None or not begins.startswith(_SIGNS):
            raise OnboardingError(
                "%(name)s is no picture: PNG, JPEG, BMP, TIFF, WebP or a ZIP of them", name=name[:100]
            )
        self._move(path, place)
        return Received(1, 0)

    def _unpacked(self, path: Path, room: int) -> Received:
        kept = passed_over = 0
        try:
            with zipfile.ZipFile(path) as archive:
                members = archive.infolist()
                if len(members) > _MOST_FILES:
                    raise OnboardingError("the archive has more than %(most)s files", most=_MOST_FILES)
                for member in members:
                    place = plain_path(member.filename)
                    if member.is_dir():
                        continue
                    if self._flat is not None and kept >= self._flat:
                        raise OnboardingError("more than %(most)s pictures at once: send fewer", most=self._flat)
                    if place is None or member.flag_bits & 1 or "__MACOSX" in member.filename:
                        passed_over += 1
                        continue
                    written = self._member(archive, member, place, room)
                    room -= written
                    kept += written > 0
                    passed_over += written == 0
        except (zipfile.BadZipFile, NotImplementedError, EOFError, RuntimeError, zlib.error) as error:
            raise OnboardingError("the archive is damaged, or packed in a way that cannot be read") from error
        return Received(kept, passed_over)

    def _member(self, archive: zipfile.ZipFile, member: zipfile.ZipInfo, place: PurePosixPath, room: int) -> int:
        """Write one file of an archive, and return its bytes; 0 for what is no picture."""
        path = self._pictures.parent / f".member-{secrets.token_hex(8)}"
        try:
            with archive.open(member) as source, path.open("xb") as file:
                written = 0
                for chunk in _chunks(source):
                    if not written and not chunk.startswith(_SIGNS):
                        return 0
                    written += len(chunk)
                    if written > _MOST_PICTURE:
                        raise OnboardingError("%(name)s is larger than any picture", name=member.filename[:100])
                    if written > room:
                        raise self._full()
                    file.write(chunk)
            if written:
                self._move(path, place)
            return written
        finally:
            path.unlink(missing_ok=True)

    def _move(self, path: Path, place: PurePosixPath) -> None:
        """Give a file its name; another picture of that name keeps it, the same one comes to lie once."""
        target = self._pictures / (place if self._flat is None else place.name)
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists():
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            if hashlib.sha256(target.read_bytes()).hexdigest() == digest:
                return
            target = target.with_name(f"{target.stem[:80]}-{digest[:8]}{target.suffix}")
        path.replace(target)

    def left(self) -> int:
        """Return how many bytes there is room for."""
        used = sum(
            os.lstat(Path(folder) / name).st_size for folder, _, names in os.walk(self._everything) for name in names
        )
        free = shutil.disk_usage(self._everything).free - _FREE
        return max(0, min(self._room - used, free))

    def _full(self) -> OnboardingError:
        return OnboardingError(
            "there is no more room for pictures of new products (console.onboarding.disk_gib, or the disk): remove some"
        )


def _chunks(source: IO[bytes]) -> Iterator[bytes]:
    while chunk := source.read(_CHUNK):
        yield chunk


def count_in(folder: Path, most: int = _MOST_FILES) -> int:
    """Return how many pictures lie in a folder and below, by their names."""
    found = 0
    for _, _, names in os.walk(folder):
        found += sum(PurePosixPath(name).suffix.lower() in SUFFIXES for name in names)
        if found >= most:
            break
    return found
