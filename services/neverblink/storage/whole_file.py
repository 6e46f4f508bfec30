"""Files that are there whole or not at all, whatever ends the process or the machine while they are written.

It knows the standard library and the root of errors alone, so that rooms without a plant or events, `vision` too, may
import it.
"""

import contextlib
import errno
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from neverblink.errors import NeverblinkError

PARTIAL = ".partial"
"""How the names end under which files are written; a crash may leave some."""


class UnwritableError(NeverblinkError, OSError):
    """A file that cannot be written; `strerror` is the system's word for it."""

    def __init__(self, path: Path, error: OSError) -> None:
        super().__init__(error.errno, error.strerror or str(error), str(path))

    def __str__(self) -> str:
        return f"{self.filename} cannot be written: {self.strerror}"


@contextlib.contextmanager
def whole_file(path: Path, *, mode: int = 0o666, forced: bool = True) -> Iterator[Path]:
    """Give a file beside `path`, its folder made, to write; when the block ends well it takes the name `path`.

    Its name is its own, so two writers never mix: the one that ends last stands. When the block raises, or the process
    is killed, what was at `path` stays. `mode` is as for os.open. Without `forced` nothing waits for the disk: a
    machine that loses power may then leave an empty file. Raises OSError.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name[:40]}.{secrets.token_hex(8)}{PARTIAL}")
    os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode))
    try:
        yield partial
        if forced:
            _force(partial)
        partial.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        raise
    if forced:
        _force_folder(path.parent)


def write_whole(path: Path, content: bytes | memoryview, *, mode: int = 0o666, forced: bool = True) -> None:
    """Write bytes to a file that is there whole or not at all; see `whole_file`. Raises UnwritableError."""
    try:
        with whole_file(path, mode=mode, forced=forced) as partial:
            partial.write_bytes(content)
    except OSError as error:
        raise UnwritableError(path, error) from error


def remove_partial(folder: Path) -> None:
    """Delete what a crash has left in a folder that nobody else writes to. Raises OSError."""
    for partial in folder.glob(f"*{PARTIAL}"):
        partial.unlink(missing_ok=True)


def write_whole_folder(path: Path, files: Mapping[str, bytes]) -> None:
    """Write a folder of files that appears whole; what was there before is moved away, then deleted. Raises OSError.

    A machine that fails between the two moves leaves no folder of that name, never a mixture.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".new", dir=path.parent))
    try:
        fresh.chmod(0o755)
        for name, content in files.items():
            (fresh / name).write_bytes(content)
            _force(fresh / name)
        _force_folder(fresh)
        if path.exists():
            retired = fresh.with_suffix(".old")
            path.rename(retired)
            fresh.rename(path)
            shutil.rmtree(retired)
        else:
            fresh.rename(path)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise
    _force_folder(path.parent)


def _force(path: Path) -> None:
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _force_folder(folder: Path) -> None:
    """Force a folder's names to disk, where its file system can: some network shares know no such thing."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)
