"""Industrial cameras through a maker's GenTL producer, by way of harvesters."""

import contextlib
import logging
import re
import threading
from pathlib import Path
from typing import Any

import numpy as np
from genicam import genapi, gentl
from harvesters.core import Harvester

from neverblink.camera.live import Shot, now
from neverblink.camera.picture import SourceError
from neverblink.camera.pixel_formats import from_pfnc
from neverblink.events import Reason
from neverblink.plant import GenicamSource

# harvesters asks the producer again and again until its own time-out; once a millisecond by default.
_POLL_MS = 50
_BUFFERS = 8
_IN_ITS_SOURCE = re.compile(r" : \w+Exception thrown")
# What a camera, its producer and the camera's description raise; ValueError and AttributeError are harvesters' own.
_FAULTS = (gentl.GenericException, genapi.GenericException, ValueError, AttributeError, RuntimeError, OSError)

# harvesters writes to stderr by itself, past the logs of the process that it is in.
_their_log = logging.getLogger("harvesters.core")
_their_log.handlers.clear()
_their_log.propagate = True


class _Producers:
    """The GenTL producers of this process: each library is loaded once and shared by the stations that need it.

    harvesters ends every open camera of a producer when it looks for cameras again. So a producer is searched only
    while none of its cameras is open; a camera that was seen then can come back at any time.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loaded: dict[Path, tuple[Any, int]] = {}

    def open(self, path: Path, serial: str | None) -> Any:
        """Return harvesters' image acquirer of a camera. Raises SourceError."""
        with self._lock:
            harvester, users = self._loaded.get(path) or (self._load(path), 0)
            self._loaded[path] = harvester, users + 1
            try:
                if not users:
                    harvester.update()
                seen = [str(device.serial_number) for device in harvester.device_info_list]
                if serial is None and len(seen) != 1:
                    raise SourceError(
                        Reason.NO_IMAGE,
                        f"{path.name} sees {len(seen)} cameras ({', '.join(seen) or 'none'}); set source.serial to one",
                    )
                if serial is not None and serial not in seen:
                    raise SourceError(
                        Reason.NO_IMAGE, f"{path.name} sees no camera {serial}; it sees {', '.join(seen) or 'none'}"
                    )
                return harvester.create({"serial_number": serial or seen[0]})
            except _FAULTS as error:
                self._release(path)
                if isinstance(error, SourceError):
                    raise
                raise SourceError(Reason.NO_IMAGE, f"{path.name} cannot open the camera: {_short(error)}") from error

    def close(self, path: Path, acquirer: Any) -> None:
        """Give a camera back, and unload the producer after its last one."""
        with self._lock:
            with contextlib.suppress(*_FAULTS):  # a camera that is gone cannot be stopped
                acquirer.destroy()
            self._release(path)

    def _load(self, path: Path) -> Any:
        harvester = Harvester()
        try:
            harvester.add_file(str(path), check_existence=True, check_validity=True)
        except _FAULTS as error:
            harvester.reset()
            raise SourceError(
                Reason.NO_IMAGE, f"the GenTL producer {path} cannot be loaded; is it where its installer put it?"
            ) from error
        return harvester

    def _release(self, path: Path) -> None:
        harvester, users = self._loaded[path]
        if users > 1:
            self._loaded[path] = harvester, users - 1
        else:
            del self._loaded[path]
            with contextlib.suppress(*_FAULTS):
                harvester.reset()


_producers = _Producers()


class GenicamCamera:
    """One camera, set up by the station's nodes and started. Raises SourceError."""

    def __init__(self, settings: GenicamSource) -> None:
        self._producer = settings.producer
        self._acquirer = _producers.open(settings.producer, settings.serial)
        try:
            self._acquirer.timeout_period_on_update_event_data_call = _POLL_MS
            self._acquirer.num_buffers = _BUFFERS
            nodes = self._acquirer.remote_device.node_map
            for name, value in settings.nodes.items():
                _set_node(nodes, name, value)
            self._acquirer.start()
        except _FAULTS as error:
            self.close()
            if isinstance(error, SourceError):
                raise
            raise SourceError(Reason.NO_IMAGE, f"the camera cannot be started: {_short(error)}") from error

    def read(self, timeout_s: float) -> Shot | None:
        """Return the next whole picture; one with packets missing shows as a gap of the counter. Raises SourceError."""
        try:
            buffer = self._acquirer.try_fetch(timeout=timeout_s)
            if buffer is None:
                return None
            try:
                at, count = now(), _count_of(buffer)
                component = buffer.payload.components[0]
                # The conversion copies: the buffer goes back to the camera.
                pixels = from_pfnc(
                    np.asarray(component.data), str(component.data_format), int(component.width), int(component.height)
                )
            finally:
                buffer.queue()
        except _FAULTS as error:
            if isinstance(error, SourceError):
                raise
            raise SourceError(Reason.NO_IMAGE, f"the camera sends no more pictures: {_short(error)}") from error
        return Shot(pixels, at, count)

    def close(self) -> None:
        """Stop the camera and let go of it."""
        _producers.close(self._producer, self._acquirer)


def _set_node(nodes: Any, name: str, value: bool | float | str) -> None:
    """Set one feature of the camera. Raises SourceError with the values that it takes."""
    try:
        node = nodes.get_node(name)
        if isinstance(node, genapi.ICommand):
            node.execute()
        elif isinstance(node, genapi.IEnumeration) and isinstance(value, bool):
            node.value = "On" if value else "Off"  # YAML reads On and Off as true and false
        elif isinstance(node, genapi.IFloat):
            node.value = float(value)
        else:
            node.value = value
    except _FAULTS as error:
        raise SourceError(Reason.NO_IMAGE, f"the camera does not take {name}: {value}: {_short(error)}") from error


def _count_of(buffer: Any) -> int | None:
    try:
        return int(buffer.module.frame_id)
    except _FAULTS:
        return None  # a camera that does not count


def _short(error: Exception) -> str:
    """Return what a GenICam error says, without the place in its own source."""
    return _IN_ITS_SOURCE.split(str(error))[0].strip() or type(error).__name__
