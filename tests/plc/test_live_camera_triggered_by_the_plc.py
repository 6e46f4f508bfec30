"""A camera that runs by itself, at a station that the PLC triggers: each part gets its number and its own picture."""

import asyncio
import time
from pathlib import Path
from uuid import uuid4

import numpy as np
from camera_line import line_of

from neverblink.brokers.development import DevelopmentBroker
from neverblink.camera.live import LiveSource
from neverblink.camera.service import CameraNode
from neverblink.camera.sources import open_source
from neverblink.events import Frame
from neverblink.kafka import EventConsumer, EventProducer, ensure_topics
from neverblink.plant import Kafka, Storage
from neverblink.simulation.plc.line import SimulatedLine
from neverblink.simulation.plc.simulator import simulated
from neverblink.vision.decode import decode
from rigs.rtsp_camera import RtspCamera

PARTS, RATE = 8, 2.0
LEVELS, STEP = 50, 4
CAMERA_RATE = 20.0


async def test_each_part_that_the_plc_counts_gets_the_picture_that_the_camera_took_then(tmp_path: Path) -> None:
    shown: dict[int, float] = {}

    def picture(number: int) -> np.ndarray:
        """Show when it was taken: neighbours in time differ by one step of grey."""
        shown[number % LEVELS] = time.time()
        return np.full((64, 64, 3), 28 + STEP * (number % LEVELS), np.uint8)

    belt = SimulatedLine("line-1", timing=line_of().timing, rate_per_s=RATE, running=False)
    async with DevelopmentBroker() as broker, simulated(belt) as (plc,):
        kafka = Kafka(bootstrap=broker.bootstrap, topic_prefix=f"t{uuid4().hex[:10]}", partitions=1, replication=1)
        await ensure_topics(kafka, ("frames", "verdicts"))
        with RtspCamera(picture, rate=CAMERA_RATE) as camera:
            station = {
                "source": {"kind": "rtsp", "url": camera.url, "max_age_ms": 200, "wait_ms": 200},
                "trigger": {"kind": "plc", "poll_ms": 10},
                "quality": {"min_contrast": None, "max_saturation": None},
            }
            security = {"policy": "None", "allow_insecure": True}
            line = line_of(station, plc={"endpoint": plc.endpoint, "security": security})
            stop = asyncio.Event()
            frames: list[tuple[Frame, dict[int, float]]] = []
            async with (
                EventProducer(kafka, source="/test/camera", client_id="camera") as producer,
                EventConsumer(kafka, "frames", client_id="reader") as reader,
            ):
                source = open_source(line.stations[0], "line-1/top")
                assert isinstance(source, LiveSource)
                node = CameraNode(line, line.stations[0], producer, Storage(spool=tmp_path / "spool"), source=source)
                working = asyncio.create_task(node.run(stop))
                async with asyncio.timeout(30):
                    await node.listening.wait()
                    while not source.connected:  # noqa: ASYNC110 - the camera has a thread of its own
                        await asyncio.sleep(0.02)
                    await plc.run_conveyor(PARTS)
                    while len(frames) < PARTS:
                        frames += [(record.read(Frame)[0], dict(shown)) for record in await reader.poll()]
                stop.set()
                await working
    numbers = [frame.tracking.number for frame, _ in frames if frame.tracking is not None]
    assert numbers == list(range(numbers[0], numbers[0] + PARTS))
    assert [frame.part for frame, _ in frames] == [f"line-1/{belt.epoch}/{number}" for number in numbers]
    for frame, then in frames:
        level = float(decode(frame.body).mean())
        taken = then[round((level - 28) / STEP)]
        # A picture's travel is part of the offset; half the time between two parts would be another part's.
        assert abs(taken - frame.captured.timestamp()) < 0.5 / RATE
