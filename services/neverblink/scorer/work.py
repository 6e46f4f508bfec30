"""A frame on its way through the scorer."""

import asyncio
import time
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from opentelemetry.trace import SpanContext, get_current_span

from neverblink.events import Frame, Reason, Times
from neverblink.scorer.models import Model
from neverblink.vision.inspection import Inspection
from neverblink.vision.inspector import Prepared

Cause = Literal["late-frame", "shadow-model"]
"""Why a score must not act."""


class FramePlace(NamedTuple):
    """Where on the frames topic a frame lies, by the names that a verdict has for it."""

    frame_partition: int
    frame_offset: int


class UnscorableError(Exception):
    """A frame that gets no score; `reason` is the verdict's, the message its detail."""

    def __init__(self, reason: Reason, sentence: str) -> None:
        super().__init__(sentence)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Arrival:
    """A frame as it was received. `trace` is the trace that its events continue, `place` where on its topic it lies."""

    frame: Frame
    times: Times
    trace: dict[str, str]
    place: FramePlace | None = None


class Batch(NamedTuple):
    """What a frame was computed with: the batch's span, its size, and when its stages began and it ended, in ns."""

    span: SpanContext
    size: int
    stages: tuple[tuple[str, int], ...]
    ended: int


@dataclass(slots=True, eq=False)
class Work:
    """A prepared frame, bound to the model that scores it, whatever is swapped meanwhile.

    A compute thread writes `times` and `batch` before it hands over `scored`, and nobody else does.
    """

    arrival: Arrival
    model: Model
    prepared: Prepared
    times: Times
    scored: "asyncio.Future[Inspection]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    span: SpanContext = field(default_factory=lambda: get_current_span().get_span_context())
    prepared_ns: int = field(default_factory=time.time_ns)
    batch: Batch | None = None

    @property
    def frame(self) -> Frame:
        """Return the frame."""
        return self.arrival.frame
