"""Converted networks on this host's disk: a service that starts again neither builds nor converts them anew."""

import contextlib
import hashlib
import importlib.metadata
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from neverblink.storage.whole_file import PARTIAL, write_whole
from neverblink.vision.engines.intel import import_openvino
from neverblink.vision.engines.serialised import read, serialised

_MAKERS = (
    "backbones",
    "embedding",
    "image_network",
    "segmenter",
    "unet",
    "engines/fusion",
    "engines/openvino_graph",
)
"""The modules that decide what a graph computes: one of an older release is not that of this one."""

_LIBRARIES = ("openvino", "timm", "torch")
_DIGEST_BYTES = 32
_OTHERS_MAY_WRITE = stat.S_IWGRP | stat.S_IWOTH


class KeptGraphs:
    """A folder of OpenVINO graphs by what they were made from, of a bounded size; the longest unused are deleted first.

    What lies there computes scores, and says itself what it is. So only what this user alone may write is read, and a
    folder that others may write to is left alone; without the folder all works as it does at a first start. Several
    services of a host may share it.
    """

    def __init__(self, folder: Path, max_bytes: int, tell: Callable[[str], None]) -> None:
        """`tell` is called with a sentence when something cannot be kept or read."""
        self._folder = folder
        self._max_bytes = max_bytes
        self._tell = tell

    def of(self, made_from: str) -> "KeptGraph":
        """Return the place of a graph by all that its network is made from: specs and digests of parameters."""
        return KeptGraph(self, made_from)

    def get(self, made_from: str) -> Any | None:
        """Return the openvino.Model that was made from that, None where there is none to be trusted. It blocks."""
        key = _key(made_from)
        path = self._path(key)
        try:
            if not self._is_ours():
                return None
            content = _content_of(path, self._max_bytes)
            with contextlib.suppress(OSError):  # on a disk that cannot be written nothing is deleted either
                os.utime(path)
        except FileNotFoundError:
            return None
        except OSError as error:
            self._tell(f"the network that was kept in {path} cannot be read: {error.strerror}")
            return None
        if content[:_DIGEST_BYTES] != _digest(key, content[_DIGEST_BYTES:]):
            self._tell(f"the network that was kept in {path} is damaged, and is made again")
            return None
        try:
            found = load_tensors(bytes(content[_DIGEST_BYTES:]))
            return read(found["graph"].tobytes(), found["weights"].tobytes())
        except (SafetensorError, KeyError, RuntimeError) as error:
            self._tell(f"the network that was kept in {path} is not one, and is made again: {error}")
            return None

    def put(self, made_from: str, model: Any) -> Any:
        """Keep an openvino.Model, unless it cannot be kept here; return it as it will be read. It blocks.

        Written and read, a graph may be computed in another order, and a U-Net's last bits differ: a first start and
        the next one, and so two scorers of a plant, shall not.
        """
        try:
            graph, weights = serialised(model)
            as_read = read(graph, weights)
        except (OSError, RuntimeError) as error:
            # OpenVINO does not tell of a full disk: what it has written is then cut off, and not to be read.
            self._tell(f"a network cannot be kept, for want of room for temporary files: {error}")
            return model
        tensors = {name: np.frombuffer(part, np.uint8) for name, part in (("graph", graph), ("weights", weights))}
        content = save_tensors(tensors)
        key = _key(made_from)
        content = _digest(key, content) + content
        try:
            self._keep(self._path(key), content)
        except OSError as error:
            self._tell(f"a network cannot be kept in {self._folder}, and is made again at the next start: {error}")
        return as_read

    def _keep(self, path: Path, content: bytes) -> None:
        self._folder.parent.mkdir(parents=True, exist_ok=True)
        self._folder.mkdir(mode=0o700, exist_ok=True)
        if len(content) <= self._max_bytes and self._is_ours():
            self._make_room(len(content))
            # Whatever a loss of power leaves is told by its digest.
            write_whole(path, content, mode=0o600, forced=False)

    def _path(self, key: str) -> Path:
        return self._folder / f"{hashlib.sha256(key.encode()).hexdigest()}.graph"

    def _is_ours(self) -> bool:
        """Say whether nobody else can put files there. Raises OSError."""
        found = os.lstat(self._folder)
        ours = stat.S_ISDIR(found.st_mode) and _is_ours(found)
        if not ours:
            self._tell(f"no network is kept in {self._folder}: others than this service's user may write there")
        return ours

    def _make_room(self, needed: int) -> None:
        """Delete what was longest unused until there is room, and what a crash has left."""
        held: list[tuple[float, int, Path]] = []
        for path in self._folder.iterdir():
            try:
                found = path.lstat()
            except FileNotFoundError:
                continue  # another service deletes it
            # What is being written is as new as what was used last: it goes when it was abandoned long ago.
            held.append((found.st_mtime, found.st_size, path))
        over = sum(size for _, size, _ in held) + needed - self._max_bytes
        for _, size, path in sorted(held):
            if over <= 0:
                return
            if path.suffix in (".graph", PARTIAL):
                path.unlink(missing_ok=True)
                over -= size


@dataclass(frozen=True, slots=True)
class KeptGraph:
    """The place of one graph."""

    graphs: KeptGraphs
    made_from: str

    def get(self) -> Any | None:
        """Return the openvino.Model, None where there is none that can be trusted."""
        return self.graphs.get(self.made_from)

    def put(self, model: Any) -> Any:
        """Keep the openvino.Model, unless it cannot be kept; return it as it will be read."""
        return self.graphs.put(self.made_from, model)


def _content_of(path: Path, max_bytes: int) -> memoryview:
    """Return a file's content. Raises OSError, PermissionError where others may have written it."""
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb") as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode) or not _is_ours(found) or found.st_size > max_bytes:
            raise PermissionError(0, "others than this service's user may have written it")
        return memoryview(file.read(found.st_size))


def _is_ours(found: os.stat_result) -> bool:
    return found.st_uid == os.geteuid() and not found.st_mode & _OTHERS_MAY_WRITE


def _digest(key: str, content: bytes | memoryview) -> bytes:
    digest = hashlib.sha256(f"{key}\n".encode())
    digest.update(content)
    return digest.digest()


def _key(made_from: str) -> str:
    return f"{_software()} {made_from}"


@cache
def _software() -> str:
    """Return what stands for all code that makes graphs and runs them."""
    digest = hashlib.sha256()
    for name in _MAKERS:
        digest.update((Path(__file__).parents[1] / f"{name}.py").read_bytes())
    versions = [f"{name} {importlib.metadata.version(name)}" for name in _LIBRARIES]
    return " ".join([*versions, f"build {import_openvino().get_version()}", f"code {digest.hexdigest()}"])
