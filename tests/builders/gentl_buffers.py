"""GenTL buffers as a producer hands them out, with what each says of itself, and an acquirer that plays them."""

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
from harvesters.util.pfnc import dict_by_names

from neverblink.camera.stream_clock import ArrivalWatch, StreamClock
from neverblink.camera.streams.genicam import GenicamCamera


class Buffer:
    """A filled buffer. What is not given is not known to the producer; `put_back` counts."""

    def __init__(
        self, data: np.ndarray, name: str = "Mono8", *, width: int = 64, height: int = 64, **known: object
    ) -> None:
        self.raw_buffer = np.ascontiguousarray(data).tobytes()
        self.width, self.height, self.pixel_format = width, height, dict_by_names[name]
        self.put_back = 0
        self.parent = SimpleNamespace(queue_buffer=self._back)
        for name_, value in known.items():
            setattr(self, name_, value)

    def _back(self, buffer: "Buffer") -> None:
        assert buffer is self
        self.put_back += 1


def camera_of(
    buffers: Sequence[Buffer], *, waiting: Callable[[], int] = lambda: 0, newest: bool = False
) -> GenicamCamera:
    """Build a camera whose producer hands out `buffers`, of which so many say that they wait."""
    left = list(buffers)

    class Stream:
        @property
        def num_awaiting_delivery(self) -> int:
            return waiting()

    def fetch(**_: object) -> Buffer | None:
        return left.pop(0) if left else None

    camera: Any = GenicamCamera.__new__(GenicamCamera)
    camera._newest = newest
    camera._depth = None
    camera._incomplete = 0
    camera._clock = StreamClock()
    camera._arrivals = ArrivalWatch(0.0)
    camera._acquirer = SimpleNamespace(try_fetch=fetch, data_streams=[Stream()])
    camera._nodes = SimpleNamespace()
    found: GenicamCamera = camera
    return found
