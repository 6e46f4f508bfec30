"""GigE Vision cameras through Aravis: no maker's producer is needed."""

import contextlib
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from neverblink.camera.live import Shot, now
from neverblink.camera.picture import SourceError
from neverblink.camera.streams.pixel_formats import CODES, from_pfnc, image_bytes
from neverblink.events import Reason
from neverblink.plant import GigeSource, PlantError

_BUFFERS = 8
# A burst of packets while this process waits for the processor; Linux grants at most net.core.rmem_max of it.
_SOCKET_BYTES = 8 * 1024 * 1024
# A camera whose host clock and ours disagree by more is not believed.
_OLDEST_S = 60.0
_DEBIAN = Path("/usr/lib/python3/dist-packages")
_WHY = {
    "missing-packets": "packets of the picture are missing",
    "timeout": "the picture's packets did not all come in time",
    "size-mismatch": "the picture has another size than the camera stated",
    "wrong-packet-id": "the picture's packets are numbered wrongly",
    "payload-not-supported": "the camera sends something that is no picture",
}
# Not filled, or on purpose: no picture was lost.
_NO_PICTURE = {"unknown", "cleared", "filling", "aborted"}


def aravis() -> Any:
    """Return Aravis' binding. Raises PlantError with what to install."""
    try:
        import gi
    except ModuleNotFoundError as error:
        raise PlantError(
            "a gige source needs PyGObject: install neverblink[gige], or let this environment see the system's own"
            f" (ln -s {_DEBIAN}/gi {Path(sys.prefix) / 'lib'}/python{sys.version_info[0]}.{sys.version_info[1]}"
            "/site-packages/)"
        ) from error
    try:
        gi.require_version("Aravis", "0.8")
        from gi.repository import Aravis
    except (ValueError, ImportError) as error:
        raise PlantError("a gige source needs Aravis 0.8: apt-get install gir1.2-aravis-0.8") from error
    return Aravis


class GigeCamera:
    """One camera, set up by the station's nodes and started. Raises SourceError.

    With `newest` a read gives the newest of the buffers that wait, and puts the older ones back unread. Aravis stamps
    each picture with this host's clock when its first packet comes, whenever it is read.
    """

    def __init__(self, settings: GigeSource, *, newest: bool = True, depth: int | None = None) -> None:
        """`depth` are the bits that values of more than eight use, where the pixel format's name does not say it."""
        self._aravis = aravis()
        self._faults = (_glib().Error, TypeError, AttributeError)
        self._name = settings.camera or "the camera"
        self._newest = newest
        self._depth = depth
        self._lost = threading.Event()
        self._stream: Any = None
        self._camera: Any = None
        try:
            self._camera = self._aravis.Camera.new(settings.camera)
            self._device = self._camera.get_device()
            self._device.connect("control-lost", lambda *_: self._lost.set())
            self._set_up(settings)
            self._start(settings)
        except self._faults as error:
            self.close()
            raise SourceError(Reason.NO_IMAGE, f"{self._name} cannot be opened: {_short(error)}") from error
        except SourceError:
            self.close()
            raise

    def _set_up(self, settings: GigeSource) -> None:
        camera, kinds = self._camera, self._aravis
        if not camera.is_gv_device():
            raise SourceError(Reason.NO_IMAGE, f"{self._name} is no GigE Vision camera")
        if not settings.packet_socket:
            camera.gv_set_stream_options(kinds.GvStreamOption.PACKET_SOCKET_DISABLED)
        if settings.packet_size is not None:
            camera.gv_set_packet_size_adjustment(kinds.GvPacketSizeAdjustment.NEVER)
            camera.gv_set_packet_size(settings.packet_size)
        camera.set_acquisition_mode(kinds.AcquisitionMode.CONTINUOUS)
        for name, value in settings.nodes.items():
            self._set_node(name, value)
        if settings.software_trigger:
            camera.set_trigger("Software")

    def _start(self, settings: GigeSource) -> None:
        kinds = self._aravis
        stream = self._camera.create_stream(None, None)
        stream.set_property("socket-buffer", kinds.GvStreamSocketBuffer.FIXED)
        stream.set_property("socket-buffer-size", _SOCKET_BYTES)
        resend = kinds.GvStreamPacketResend
        stream.set_property("packet-resend", resend.ALWAYS if settings.packet_resend else resend.NEVER)
        for _ in range(_BUFFERS):
            stream.push_buffer(kinds.Buffer.new_allocate(self._camera.get_payload()))
        self._stream = stream
        self._camera.start_acquisition()

    def read(self, timeout_s: float) -> Shot | None:
        """Return the next picture; one that came in part has a fault. Raises SourceError when the camera is gone."""
        if self._lost.is_set():
            raise SourceError(Reason.NO_IMAGE, f"{self._name} sends no more pictures: it does not answer any more")
        buffer = self._stream.timeout_pop_buffer(int(timeout_s * 1_000_000))
        if buffer is None:
            return None
        skipped = 0
        while self._newest and (newer := self._stream.try_pop_buffer()) is not None:
            self._stream.push_buffer(buffer)
            buffer, skipped = newer, skipped + 1
        try:
            return self._shot(buffer, skipped)
        finally:
            self._stream.push_buffer(buffer)  # the conversion copied

    def fire(self) -> None:
        """Let the camera take a picture now; used by another thread than `read`. Raises SourceError."""
        try:
            self._camera.software_trigger()
        except self._faults as error:
            raise SourceError(Reason.NO_IMAGE, f"{self._name} cannot be fired: {_short(error)}") from error

    def close(self) -> None:
        """Stop the camera and let go of it; Aravis gives it free when nobody holds it."""
        if self._stream is not None:
            with contextlib.suppress(*self._faults):  # a camera that is gone cannot be stopped
                self._camera.stop_acquisition()
        self._stream = self._device = self._camera = None

    def _shot(self, buffer: Any, skipped: int) -> Shot | None:
        status, count = str(buffer.get_status().value_nick), int(buffer.get_frame_id())
        if status in _NO_PICTURE:
            return None
        at, taken_s = _host_time(buffer.get_system_timestamp()), buffer.get_timestamp() / 1e9 or None
        if status != "success":
            why = _WHY.get(status, f"the picture came with the status {status}")
            return Shot.damaged(at, f"{self._name}: {why}", count=count, skipped=skipped)
        try:
            width, height = buffer.get_image_width(), buffer.get_image_height()
            number = buffer.get_image_pixel_format() & 0xFFFFFFFF
            name = CODES.get(number, f"format {number:#010x}")
            data = np.frombuffer(buffer.get_image_data(), np.uint8)
            if name in CODES.values():
                data = data[: image_bytes(name, width, height)]
            return Shot(from_pfnc(data, name, width, height, self._depth), at, count, 0.0, taken_s, skipped)
        except SourceError as error:
            return Shot.damaged(at, error, count=count, taken_s=taken_s, skipped=skipped)

    def _set_node(self, name: str, value: bool | float | str) -> None:
        """Set one feature of the camera. Raises SourceError."""
        node, kinds = self._device.get_feature(name), self._aravis
        try:
            if node is None:
                raise SourceError(Reason.NO_IMAGE, f"the camera does not take {name}: it has no such feature")
            if isinstance(node, kinds.GcCommand):
                node.execute()
            elif isinstance(node, kinds.GcEnumeration):
                # YAML reads On and Off as true and false.
                node.set_string_value(("On" if value else "Off") if isinstance(value, bool) else str(value))
            elif isinstance(node, kinds.GcBoolean):
                node.set_value(bool(value))
            elif isinstance(node, (kinds.GcFloatNode, kinds.GcFloatRegNode)):
                node.set_value(float(value))
            elif isinstance(value, str):
                node.set_value_from_string(value)
            else:
                node.set_value(int(value))
        except (*self._faults, ValueError) as error:
            raise SourceError(Reason.NO_IMAGE, f"the camera does not take {name}: {value}: {_short(error)}") from error


def _glib() -> Any:
    from gi.repository import GLib

    return GLib


def _host_time(nanoseconds: int) -> datetime:
    """Return when a picture's first packet came, now where Aravis does not tell."""
    at, at_most = datetime.fromtimestamp(nanoseconds / 1e9, UTC), now()
    return at if at_most - timedelta(seconds=_OLDEST_S) < at < at_most else at_most


def _short(error: BaseException) -> str:
    return str(getattr(error, "message", "") or error)
