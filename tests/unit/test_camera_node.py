"""The camera node: every trigger ends in one frame or one `unscored` verdict, and nothing is dropped in silence."""

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from camera_line import Wire, frame_of, line_of, verdict_of

from neverblink.camera.backlog import Backlog
from neverblink.camera.instruments import instruments
from neverblink.camera.picture import Picture, SourceError, encoded
from neverblink.camera.service import CameraNode
from neverblink.camera.spool import Spool
from neverblink.camera.triggers import Trigger, station_triggers
from neverblink.events import Decision, Frame, Reason
from neverblink.events.identity import verdict_id
from neverblink.plant import Payload, Storage
from neverblink.storage.frame_objects import ObjectStore
from neverblink.vision.decode import decode
from rigs.pictures import number_of, numbered, video_file


class Pictures:
    """A source that shows what the test says, a picture or a fault a part."""

    def __init__(self, *shown: np.ndarray | SourceError) -> None:
        self._shown = list(shown)
        self.closed = 0

    def grab(self, number: int, at: datetime) -> Picture:
        item = self._shown[(number - 1) % len(self._shown)]
        if isinstance(item, SourceError):
            raise item
        return encoded(item, Payload())

    def close(self) -> None:
        self.closed += 1


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a node give up sooner on a verdict that nobody acknowledges."""
    monkeypatch.setattr("neverblink.camera.service._VERDICT_TIMEOUT_S", 0.3)


@contextlib.asynccontextmanager
async def running(node: CameraNode) -> AsyncIterator[asyncio.Task[None]]:
    """Run a node until the block ends, then stop it in good order."""
    stop = asyncio.Event()
    work = asyncio.create_task(node.run(stop))
    try:
        yield work
    finally:
        stop.set()
        async with asyncio.timeout(30):
            await work


async def until(condition: Callable[[], object], within_s: float = 20) -> None:
    async with asyncio.timeout(within_s):
        while not condition():  # noqa: ASYNC110 - the node tells nobody
            await asyncio.sleep(0.01)


def made(
    wire: Wire,
    tmp_path: Path,
    source: Pictures | None = None,
    *,
    shown: dict[str, object] | None = None,
    budget_s: float = 60,
    storage: dict[str, object] | None = None,
    **station: object,
) -> CameraNode:
    """Make a node of the test's own source, or of the source that the plant file's section `shown` describes."""
    if shown is not None:
        station["source"] = shown
    line = line_of({"trigger": {"kind": "timer", "rate_per_s": 100, "parts": 4}, **station}, budget_s=budget_s)
    settings = Storage.model_validate({"spool": tmp_path / "spool", **(storage or {})})
    return CameraNode(line, line.stations[0], wire, settings, source=source)  # type: ignore[arg-type]


async def finished(node: CameraNode) -> None:
    async with asyncio.timeout(30):
        await node.run(asyncio.Event())


async def test_each_part_ends_in_a_frame_with_its_picture(tmp_path: Path) -> None:
    wire, source = Wire(), Pictures(*(numbered(number) for number in range(4)))
    await finished(made(wire, tmp_path, source))
    assert [number_of(decode(frame.body)) for frame in wire.frames] == [0, 1, 2, 3]
    assert wire.verdicts == []
    assert source.closed


async def test_a_picture_of_a_wrong_size_is_told_with_both_sizes(tmp_path: Path) -> None:
    wire = Wire()
    node = made(wire, tmp_path, Pictures(numbered(1), numbered(2, height=48)), quality={"width": 192, "height": 64})
    await finished(node)
    assert len(wire.frames) == 2
    assert {verdict.reason for verdict in wire.verdicts} == {Reason.WRONG_SIZE}
    assert wire.verdicts[0].detail == "the picture has 192 × 48 pixels and the station expects 192 × 64"


async def test_the_size_may_be_fixed_on_one_side_only(tmp_path: Path) -> None:
    wire = Wire()
    await finished(made(wire, tmp_path, Pictures(numbered(1), numbered(2, height=48)), quality={"height": 64}))
    assert wire.verdicts[0].detail == "the picture has 192 × 48 pixels and the station expects any × 64"


async def test_a_picture_that_cannot_be_had_is_told_with_the_sources_own_words(tmp_path: Path) -> None:
    wire = Wire()
    await finished(made(wire, tmp_path, Pictures(SourceError(Reason.NO_IMAGE, "the lens cap is on"))))
    assert [(verdict.reason, verdict.detail) for verdict in wire.verdicts] == [
        (Reason.NO_IMAGE, "the lens cap is on")
    ] * 4


async def test_a_driver_that_raises_anything_costs_its_part_and_no_other(tmp_path: Path) -> None:
    class Broken(Pictures):
        def grab(self, number: int, at: datetime) -> Picture:
            if number == 2:
                raise ZeroDivisionError("in the driver")
            return super().grab(number, at)

    wire = Wire()
    await finished(made(wire, tmp_path, Broken(*(numbered(number) for number in range(4)))))
    assert [frame.seq for frame in wire.frames] == [1, 3, 4]
    assert [(verdict.seq, verdict.reason) for verdict in wire.verdicts] == [(2, Reason.NO_IMAGE)]
    assert "in the driver" in str(wire.verdicts[0].detail)


@pytest.mark.parametrize("form", ["png", "jpeg", "raw"])
async def test_a_picture_travels_in_each_form_and_can_be_decoded(tmp_path: Path, form: str) -> None:
    wire = Wire()
    await finished(made(wire, tmp_path, payload={"format": form}))
    for frame in wire.frames:
        assert decode(frame.body, content_type=frame.content_type).shape == (352, 352, 3)
    assert len(wire.frames) == 4


# Hardware triggers


async def test_each_picture_that_the_camera_fires_is_a_part_and_the_end_of_the_recording_ends_the_node(
    tmp_path: Path,
) -> None:
    wire = Wire()
    video = {"kind": "video", "path": video_file(tmp_path / "v.avi", 12), "loop": False}
    await finished(made(wire, tmp_path, shown=video, trigger={"kind": "hardware"}))
    assert [number_of(decode(frame.body)) for frame in wire.frames] == list(range(12))
    assert [frame.part.rsplit("/", 1)[1] for frame in wire.frames] == [str(number) for number in range(1, 13)]
    assert wire.verdicts == []


async def test_lost_pictures_get_a_verdict_each_between_their_neighbours(tmp_path: Path) -> None:
    """The buffer of this station holds two pictures, and the camera sends twenty while the node is busy."""
    wire = Wire()
    video = {"kind": "video", "path": video_file(tmp_path / "v.avi", 20, rate=500), "loop": False}
    node = made(wire, tmp_path, shown=video, trigger={"kind": "hardware"}, buffer_frames=2)
    acquire = node._acquire

    def slowly(trigger: Trigger) -> object:
        time.sleep(0.02)
        return acquire(trigger)

    node._acquire = slowly  # type: ignore[method-assign, assignment]
    await finished(node)
    ended = [event.part for event in (*wire.frames, *wire.verdicts)]
    numbers = sorted(int(part.rsplit("/", 1)[1]) for part in ended)
    assert numbers == list(range(1, 21)), "each of twenty parts ends once"
    lost = [verdict for verdict in wire.verdicts if verdict.reason == Reason.NO_IMAGE]
    assert lost
    assert lost[0].detail == "the camera counted this part and its picture did not arrive"
    for frame in wire.frames:
        assert number_of(decode(frame.body)) + 1 == int(frame.part.rsplit("/", 1)[1]), (
            "the numbers stay with their parts"
        )


async def test_a_node_that_is_told_to_stop_takes_what_its_camera_had_fired(tmp_path: Path) -> None:
    wire = Wire()
    video = {"kind": "video", "path": video_file(tmp_path / "v.avi", 20, rate=40)}
    node = made(wire, tmp_path, shown=video, trigger={"kind": "hardware"})
    async with running(node):
        await until(lambda: len(wire.frames) >= 5)
    assert node._source.take() is None  # type: ignore[attr-defined]
    assert len(wire.frames) == node._seq


async def test_a_silent_camera_is_warned_about_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    class Silent:
        connected, ended = True, False

        def start(self, observer: Callable[[], None]) -> None:
            pass

        def take(self) -> None:
            return None

    line = line_of(
        {
            "source": {"kind": "v4l2"},
            "trigger": {"kind": "hardware", "silent_after_s": 1},
        }
    )
    listening = asyncio.Event()
    triggers = station_triggers(line, line.stations[0], Silent(), listening)  # type: ignore[arg-type]
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(2.5):
            await anext(triggers)
    assert listening.is_set()
    told = [record.message for record in caplog.records if "has not fired" in record.message]
    assert told == ["the camera of line-1/top has not fired for 1 s: is the line standing?"]


# The claim check


def size_of(dataref: str) -> int:
    return Path(dataref.removeprefix("file://")).stat().st_size


async def test_a_large_image_lies_in_the_store_before_its_frame_is_sent(tmp_path: Path) -> None:
    class Checking(Wire):
        async def send(self, event: object, *, trace: object = None) -> None:  # type: ignore[override]
            assert isinstance(event, Frame)
            assert size_of(str(event.dataref)) == event.size
            self.sent.append(event)

    wire = Checking()
    objects = tmp_path / "objects"
    await finished(made(wire, tmp_path, payload={"max_inline_bytes": 1024}, storage={"objects": str(objects)}))
    store = ObjectStore(str(objects))
    assert len(wire.frames) == 4
    for frame in wire.frames:
        assert frame.body == b""
        assert decode(store.get(frame)).shape == (352, 352, 3)


async def test_a_small_image_travels_inline_although_there_is_a_store(tmp_path: Path) -> None:
    wire = Wire()
    await finished(made(wire, tmp_path, storage={"objects": str(tmp_path / "objects")}))
    assert all(frame.dataref is None and frame.body for frame in wire.frames)
    assert not (tmp_path / "objects").exists()


async def test_without_a_store_a_large_image_is_refused_with_the_setting_to_change(tmp_path: Path) -> None:
    wire = Wire()
    await finished(made(wire, tmp_path, payload={"max_inline_bytes": 1024}))
    assert {verdict.reason for verdict in wire.verdicts} == {Reason.IMAGE_TOO_LARGE}
    assert "the plant has no storage.objects for larger ones" in str(wire.verdicts[0].detail)


async def test_a_store_that_is_away_costs_a_verdict_each_and_the_frames_follow_when_it_is_back(tmp_path: Path) -> None:
    wire = Wire()
    objects = tmp_path / "objects"
    objects.write_text("a file where the folder should be")
    node = made(
        wire, tmp_path, budget_s=1, payload={"max_inline_bytes": 1024}, storage={"objects": str(objects)},
        trigger={"kind": "timer", "rate_per_s": 100, "parts": 4},
    )  # fmt: skip
    await finished(node)
    assert {verdict.reason for verdict in wire.verdicts} == {Reason.STORE_AWAY}
    assert len(wire.verdicts) == 4
    assert wire.frames == []
    objects.unlink()
    again = made(
        wire, tmp_path, Pictures(SourceError(Reason.NO_IMAGE, "none")), budget_s=1,
        payload={"max_inline_bytes": 1024}, storage={"objects": str(objects)},
        trigger={"kind": "timer", "rate_per_s": 0.01},
    )  # fmt: skip
    async with running(again):
        await until(lambda: len(wire.frames) == 4)
    assert {verdict_id(frame.id) for frame in wire.frames} == {verdict.id for verdict in wire.verdicts[:4]}


async def test_a_store_that_hangs_holds_one_image_and_makes_the_others_wait_on_disk(tmp_path: Path) -> None:
    hanging, puts = threading.Event(), []

    class Hanging:
        def put(self, frame: Frame) -> Frame:
            puts.append(frame.id)
            hanging.wait(20)
            return frame.model_copy(update={"dataref": "file:///objects/x", "body": b""})

    wire = Wire()
    node = made(wire, tmp_path, budget_s=0.3, payload={"max_inline_bytes": 1024})
    node._claims._objects = Hanging()  # type: ignore[assignment]
    await finished(node)
    assert len(puts) == 1
    assert {verdict.reason for verdict in wire.verdicts} == {Reason.STORE_AWAY}
    assert len(wire.verdicts) == 4
    assert len(node._backlog) == 4
    hanging.set()


# The broker is away


async def test_what_cannot_be_sent_is_kept_and_sent_when_the_broker_is_back(tmp_path: Path) -> None:
    wire = Wire()
    wire.there.clear()
    node = made(wire, tmp_path, budget_s=0.4, trigger={"kind": "timer", "rate_per_s": 20, "parts": 10}, buffer_frames=4)
    await finished(node)
    assert wire.sent == []
    assert len(node._backlog) == 20

    wire.there.set()
    later = made(wire, tmp_path, Pictures(numbered(1)), trigger={"kind": "timer", "rate_per_s": 0.01, "parts": 2})
    async with running(later):
        await until(lambda: len(later._backlog) == 0 and len(wire.sent) >= 21)
    kept = [frame for frame in wire.frames if frame.deadline < frame.published]
    assert len(kept) == 10
    assert {verdict.id for verdict in wire.verdicts} == {verdict_id(frame.id) for frame in kept}
    # Until the first one is not acknowledged, nobody knows that the broker is away: a full buffer looks like overload.
    # On a busy machine a frame's time may be up before it is tried at all.
    assert {verdict.reason for verdict in wire.verdicts} <= {Reason.BROKER_AWAY, Reason.OVERLOAD, Reason.LATE}
    assert all(verdict.decision is Decision.UNSCORED for verdict in wire.verdicts)
    assert len({frame.id for frame in kept}) == 10


async def test_a_kept_frame_is_not_sent_while_a_scorer_could_still_decide_otherwise(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    moment = [now]
    sent: list[object] = []

    async def send(event: object, trace: object) -> None:
        sent.append(event)

    backlog = Backlog(
        Spool(tmp_path / "verdicts", max_bytes=10**6, max_events=10),
        Spool(tmp_path / "frames", max_bytes=10**6, max_events=10),
        name="line-1/top",
        send=send,
        has_room=lambda: True,
        clock=lambda: moment[0],
        labels={"line": "line-1", "station": "top"},
        measured=instruments(),
    )
    await backlog.open()
    frame = frame_of(1, at=now, left_s=30)
    await backlog.keep(frame, {})
    await backlog.keep(verdict_of(frame), {})
    working = asyncio.create_task(backlog.send_all())
    await until(lambda: len(sent) == 1)
    assert sent == [verdict_of(frame)]
    await asyncio.sleep(1.2)
    assert len(sent) == 1
    moment[0] += timedelta(seconds=31)
    await until(lambda: len(sent) == 2)
    assert sent[1] == frame
    working.cancel()
    backlog.close()


async def test_live_frames_go_before_kept_ones(tmp_path: Path) -> None:
    room, sent = [False], []

    async def send(event: object, trace: object) -> None:
        sent.append(event)

    backlog = Backlog(
        Spool(tmp_path / "verdicts", max_bytes=10**6, max_events=10),
        Spool(tmp_path / "frames", max_bytes=10**6, max_events=10),
        name="line-1/top",
        send=send,
        has_room=lambda: room[0],
        clock=lambda: datetime.now(UTC),
        labels={"line": "line-1", "station": "top"},
        measured=instruments(),
    )
    await backlog.open()
    await backlog.keep(frame_of(1), {})
    working = asyncio.create_task(backlog.send_all())
    await asyncio.sleep(0.8)
    assert sent == []
    room[0] = True
    await until(lambda: sent)
    working.cancel()
    backlog.close()


async def test_without_a_folder_for_its_spool_the_node_works_and_says_what_it_drops(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "spool").write_text("a file in the way")
    wire = Wire()
    dark = np.zeros((64, 192, 3), np.uint8)
    await finished(made(wire, tmp_path, Pictures(numbered(1), dark), quality={"frozen_after": None}))
    assert len(wire.frames) == 2
    assert [verdict.reason for verdict in wire.verdicts] == [Reason.TOO_DARK] * 2
    assert any("what cannot be sent in time will be dropped" in record.message for record in caplog.records)
    wire.there.clear()
    caplog.clear()
    await finished(made(wire, tmp_path, Pictures(numbered(1)), budget_s=0.1, quality={"frozen_after": None},
                        trigger={"kind": "timer", "rate_per_s": 100, "parts": 1}))  # fmt: skip
    dropped = [record.message for record in caplog.records if "is not kept: there is no spool" in record.message]
    assert len(dropped) == 2  # the frame and its verdict


@pytest.mark.parametrize(
    ("shown", "frozen"),
    [({"kind": "rtsp", "url": "rtsp://camera/"}, [6, 7, 8]), ({"kind": "folder", "path": "."}, [])],
)
async def test_a_live_camera_that_shows_two_pictures_in_turn_is_frozen_and_a_folder_that_begins_again_is_not(
    shown: dict[str, object], frozen: list[int], tmp_path: Path
) -> None:
    wire, source = Wire(), Pictures(*(numbered(number % 2) for number in range(8)))
    trigger = {"kind": "timer", "rate_per_s": 100, "parts": 8}
    await finished(made(wire, tmp_path, source, shown=shown, trigger=trigger))
    assert [(verdict.seq, verdict.reason) for verdict in wire.verdicts] == [(seq, Reason.FROZEN) for seq in frozen]
    assert all("the same 2 pictures came 3 times" in (verdict.detail or "") for verdict in wire.verdicts)


async def test_a_full_spool_counts_what_it_drops(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG", "neverblink.camera")
    wire = Wire()
    wire.there.clear()
    node = made(
        wire, tmp_path, budget_s=0.2, storage={"spool_max_events": 3},
        trigger={"kind": "timer", "rate_per_s": 50, "parts": 8},
    )  # fmt: skip
    await finished(node)
    assert len(node._backlog) == 6
    dropped = [record for record in caplog.records if "made room" in record.message and "spool" in record.message]
    assert len(dropped) == 10  # five frames and five verdicts
    assert sum(record.levelno > logging.DEBUG for record in dropped) == 2  # the first frame and the first verdict
