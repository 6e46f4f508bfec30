"""A folder or an fsspec URL below which files are read and written, and nothing outside of it."""

import shutil
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Self

from neverblink.errors import NeverblinkError
from neverblink.storage.whole_file import whole_file, write_whole

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem


_S3 = ("s3", "s3a")
_CONNECT_S = 2
_ANSWER_S = 10
_TRIES = 2
CALL_S = 20.0
"""One file of some MiB, put or had."""


class FileRootError(NeverblinkError, ValueError):
    """No installed package knows this kind of place."""


@dataclass(frozen=True)
class FileRoot:
    """A place that files may be read from. `path` has no slash at its end. Its methods block."""

    filesystem: "AbstractFileSystem"
    path: str
    is_local: bool

    @classmethod
    def at(cls, url: str) -> Self:
        """Return the place at a folder or URL. Raises FileRootError."""
        try:
            # Only a plant whose files do not lie on one disk needs it.
            from fsspec.core import url_to_fs

            filesystem, path = url_to_fs(url, **_with_an_end(url))
            if url.partition("://")[0] in _S3:
                filesystem.retries = _TRIES
        except (ImportError, ValueError) as error:
            raise FileRootError(str(error)) from error
        return cls(filesystem, str(path).rstrip("/"), "file" in _protocols(filesystem))

    @property
    def within(self) -> dict[str, float]:
        """Return what ends a call of the file system's after `CALL_S`, where it asks a server, as keywords for it.

        The library's own limits do not all hold: a put waits for ever for a server that takes the connection and does
        not answer, because the limit of its answer begins when the request has been sent, and that waits for a word.
        """
        return {"timeout": CALL_S} if getattr(self.filesystem, "async_impl", False) else {}

    def inside(self, location: str) -> str | None:
        """Return the path of a location on the file system, None when it does not lie below this place."""
        if ".." in PurePosixPath(location.replace("\\", "/")).parts:
            return None
        scheme, separator, _ = location.partition("://")
        if separator and scheme not in _protocols(self.filesystem):
            return None
        if not separator and not self.is_local:
            return None
        path = str(self.filesystem._strip_protocol(location)).rstrip("/")
        root = self.path
        if self.is_local:
            try:
                # A link below the folder must not lead out of it.
                root, path = str(Path(root).resolve()), str(Path(path).resolve())
            except (OSError, RuntimeError, ValueError):  # a loop of links, a name that no file can have
                return None
        return path if path.startswith(f"{root}/") else None

    def location(self, path: str) -> str:
        """Return the URL of a path of this place."""
        return str(self.filesystem.unstrip_protocol(path))

    def write(self, path: str, source: bytes | Path, *, forced: bool = True) -> None:
        """Write bytes, or what a local file holds. The file gets its name only when it is whole.

        Object stores see to that by themselves; on a disk nothing waits for it without `forced`. Raises what the file
        system raises.
        """
        if self.is_local and isinstance(source, Path):
            with whole_file(Path(path), forced=forced) as partial:
                shutil.copyfile(source, partial)
        elif self.is_local:
            assert isinstance(source, bytes)
            write_whole(Path(path), source, forced=forced)
        elif isinstance(source, Path):
            self.filesystem.put_file(str(source), path)
        else:
            self.filesystem.pipe_file(path, source, **self.within)


def shortened(error: Exception) -> str:
    """Return an error of a file system as a part of a sentence: stores answer with whole pages."""
    return f"{type(error).__name__}: {error}"[:500]


def _with_an_end(url: str) -> dict[str, Any]:
    """Return what ends the waits for a server; what fsspec's own configuration states stands.

    By itself s3fs asks a server that is away again and again, 22 s for one file (measured); whoever asked tries again.
    """
    from fsspec.config import conf

    scheme = url.partition("://")[0]
    if scheme not in _S3 or "config_kwargs" in conf.get(scheme, {}):
        return {}
    return {
        "config_kwargs": {
            "connect_timeout": _CONNECT_S,
            "read_timeout": _ANSWER_S,
            "retries": {"total_max_attempts": 1},
        }
    }


def _protocols(filesystem: Any) -> tuple[str, ...]:
    stated = filesystem.protocol
    return (stated,) if isinstance(stated, str) else tuple(stated)
