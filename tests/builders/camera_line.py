"""A line with one station, frames of it, and a producer whose broker goes away on command."""

import asyncio
import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from neverblink.events import Event, Frame, Verdict
from neverblink.events.identity import frame_id, verdict_id
from neverblink.events.parts import Decision, Reason, Times
from neverblink.plant import Line

START = datetime(2026, 1, 1, 12, 30, tzinfo=UTC)


def line_of(station: dict[str, Any] | None = None, *, budget_s: float = 60, plc: dict[str, Any] | None = None) -> Line:
    """Build a line whose verdicts have `budget_s` after the trigger."""
    return Line.model_validate(
        {
            "name": "line-1",
            "timing": {
                "distance_to_gate_m": budget_s, "speed_m_s": 1,
                "actuator_ms": 0, "plc_cycle_ms": 0, "margin_ms": 0,
            },
            "plc": plc,
            "stations": [
                {
                    "name": "top",
                    "product": "pcb",
                    "source": {"kind": "simulated", "drawing": "pcb"},
                    "trigger": {"kind": "timer"},
                    **(station or {}),
                }
            ],
        }
    )  # fmt: skip


def frame_of(seq: int, *, body: bytes | None = None, at: datetime = START, left_s: float = 5, **more: object) -> Frame:
    """Build a frame with a body of its own."""
    body = f"image {seq}".encode() if body is None else body
    fields: dict[str, object] = {
        "id": frame_id(at),
        "line": "line-1",
        "station": "top",
        "product": "pcb",
        "part": f"line-1/1/{seq}",
        "seq": seq,
        "captured": at,
        "published": at,
        "deadline": at + timedelta(seconds=left_s),
        "sha256": hashlib.sha256(body).hexdigest(),
        "size": len(body),
        "content_type": "image/png",
        "body": body,
    }
    return Frame.model_validate({**fields, **more})


def verdict_of(frame: Frame) -> Verdict:
    """Build the verdict that tells that a frame could not be published."""
    return Verdict(
        id=verdict_id(frame.id),
        frame_id=frame.id,
        line=frame.line,
        station=frame.station,
        product=frame.product,
        part=frame.part,
        seq=frame.seq,
        decision=Decision.UNSCORED,
        reason=Reason.BROKER_AWAY,
        times=Times(captured=frame.captured, emitted=frame.captured),
        deadline=frame.deadline,
    )


class Wire:
    """A producer that keeps what was acknowledged. While `there` is cleared, `send` waits as the real one does."""

    def __init__(self) -> None:
        self.sent: list[Event] = []
        self.there = asyncio.Event()
        self.there.set()

    async def send(self, event: Event, *, trace: Mapping[str, str] | None = None) -> None:
        await self.there.wait()
        self.sent.append(event)

    @property
    def frames(self) -> list[Frame]:
        return [event for event in self.sent if isinstance(event, Frame)]

    @property
    def verdicts(self) -> list[Verdict]:
        return [event for event in self.sent if isinstance(event, Verdict)]
