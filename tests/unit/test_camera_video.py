"""Video files, and network cameras on a small RTSP server of the test's own.

A V4L2 device is opened by the same code with another name; there is none to test against, so only its refusal is.
"""

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from neverblink.camera.live import LiveSource, StreamEndedError
from neverblink.camera.picture import SourceError
from neverblink.camera.sources import Source, open_source
from neverblink.camera.streams.network import network_camera
from neverblink.camera.streams.recording import FilePlayback
from neverblink.camera.streams.v4l2 import V4l2Camera
from neverblink.plant import PlantError, RtspSource, Station, V4l2Source, VideoSource
from neverblink.vision.decode import decode
from rigs.pictures import number_of, numbered, video_file
from rigs.rtsp_camera import RtspCamera


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty pictures at fifty a second."""
    return video_file(tmp_path_factory.mktemp("video") / "parts.avi", 20)


def station(source: dict[str, object], trigger: str = "timer") -> Station:
    return Station.model_validate(
        {"name": "top", "product": "pcb", "source": source, "trigger": {"kind": trigger}, "payload": {"format": "raw"}}
    )


def shown(source: Source, number: int) -> int:
    picture = source.grab(number, datetime.now(UTC))
    return number_of(decode(picture.body, content_type=picture.content_type))


def until(condition: Callable[[], object], within_s: float = 15) -> None:
    give_up = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < give_up, "it never happened"
        time.sleep(0.005)


def test_a_file_shows_one_picture_a_part_and_begins_again(video: Path) -> None:
    source = open_source(station({"kind": "video", "path": video, "pace": "per-part"}))
    assert [shown(source, number) for number in range(1, 23)] == [*range(20), 0, 1]
    source.close()


def test_a_file_that_does_not_loop_ends_as_no_image(video: Path) -> None:
    source = open_source(station({"kind": "video", "path": video, "pace": "per-part", "loop": False}))
    for number in range(20):
        shown(source, number + 1)
    with pytest.raises(SourceError, match=r"parts\.avi is through and does not loop"):
        shown(source, 21)
    source.close()


def test_a_file_plays_at_its_own_rate(video: Path) -> None:
    playback = FilePlayback(VideoSource(kind="video", path=video, loop=False))
    began = time.monotonic()
    shots = [playback.read(1) for _ in range(20)]
    with pytest.raises(StreamEndedError):
        playback.read(1)
    numbers = [(number_of(shot.pixels), shot.count) for shot in shots if shot is not None]
    assert numbers == [(number, number + 1) for number in range(20)]
    # 20 pictures at 50 a second last 0.4 s; a slow machine may take longer and never less.
    assert time.monotonic() - began > 0.37
    playback.close()


def test_a_picture_that_is_not_due_yet_is_waited_for_in_small_steps(tmp_path: Path) -> None:
    slow = FilePlayback(VideoSource(kind="video", path=video_file(tmp_path / "slow.avi", 3, rate=2.0)))
    assert slow.read(0.01) is not None
    assert slow.read(0.01) is None
    slow.close()


def test_a_file_that_plays_shows_the_newest_picture_to_a_trigger(video: Path) -> None:
    source = open_source(station({"kind": "video", "path": video, "wait_ms": 5000}))
    first = shown(source, 1)
    time.sleep(0.2)  # ten pictures pass
    assert (shown(source, 2) - first) % 20 >= 5
    source.close()


def test_every_picture_of_a_recording_is_a_part_where_the_camera_triggers(video: Path) -> None:
    source = open_source(station({"kind": "video", "path": video, "loop": False}, "hardware"))
    assert isinstance(source, LiveSource)
    source.start()
    until(lambda: source.ended)
    taken = []
    while (arrival := source.take()) is not None:
        taken.append((number_of(arrival.shot.pixels), arrival.lost))
    # The buffer holds sixteen: the four before are told as lost, with the first that is left.
    assert taken == [(4, 4), *((number, 0) for number in range(5, 20))]
    source.close()


@pytest.mark.parametrize("pace", ["own-rate", "per-part"])
def test_a_video_file_that_does_not_exist_is_refused_at_the_start(pace: str, tmp_path: Path) -> None:
    with pytest.raises(PlantError, match=r"does not exist; set source\.path"):
        open_source(station({"kind": "video", "path": tmp_path / "none.avi", "pace": pace}))


def test_a_file_that_is_no_video_cannot_be_opened(tmp_path: Path) -> None:
    (tmp_path / "text.avi").write_text("this is no video")
    with pytest.raises(SourceError, match=r"the video file .*text\.avi cannot be opened"):
        FilePlayback(VideoSource(kind="video", path=tmp_path / "text.avi"))


# Network cameras


@pytest.fixture
def camera() -> Iterator[RtspCamera]:
    with RtspCamera(numbered, rate=50) as found:
        yield found


def test_a_network_camera_shows_its_pictures_in_order(camera: RtspCamera) -> None:
    stream = network_camera(RtspSource(kind="rtsp", url=camera.url))
    shots = [stream.read(1) for _ in range(12)]
    numbers = [number_of(shot.pixels) for shot in shots if shot is not None]
    # A live camera does not wait: where the machine is busy some pictures go by, the first ones too.
    assert len(numbers) == 12
    assert numbers == sorted(set(numbers))
    stream.close()


def test_a_trigger_gets_the_fresh_picture_and_not_the_oldest_of_the_decoders_queue(camera: RtspCamera) -> None:
    source = open_source(station({"kind": "rtsp", "url": camera.url, "wait_ms": 5000}))
    first = shown(source, 1)
    time.sleep(1.0)
    # Fifty pictures went by while nobody asked; a decoder's queue would now show the next one.
    assert shown(source, 2) - first > 25
    source.close()


def test_a_silent_network_camera_is_connected_anew(camera: RtspCamera) -> None:
    source = open_source(station({"kind": "rtsp", "url": camera.url, "wait_ms": 8000, "silent_after_s": 1}))
    shown(source, 1)
    camera.silence()
    assert camera.connections == 1
    until(lambda: camera.connections >= 2)
    camera.speaking.set()
    shown(source, 2)
    source.close()


def test_a_network_camera_that_hangs_up_is_connected_anew(camera: RtspCamera) -> None:
    source = open_source(station({"kind": "rtsp", "url": camera.url, "wait_ms": 8000}))
    shown(source, 1)
    camera.cut()
    until(lambda: camera.connections >= 2)
    shown(source, 2)
    source.close()


def test_user_and_password_reach_the_camera_and_no_message(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    right, wrong = tmp_path / "right", tmp_path / "wrong"
    right.write_text("s3cret /@:\n")
    wrong.write_text("gu3ss /@:\n")
    with RtspCamera(numbered, rate=50, password="s3cret /@:") as camera:
        settings = RtspSource(kind="rtsp", url=camera.url, username="viewer", password_file=right)
        stream = network_camera(settings)
        assert stream.read(1) is not None
        stream.close()
        with pytest.raises(SourceError, match=r"rtsp://127.0.0.1:\d+/line cannot be opened") as told:
            network_camera(settings.model_copy(update={"password_file": wrong}))
    heard = str(told.value) + "".join(capfd.readouterr())
    assert "gu3ss" not in heard
    assert "s3cret" not in heard


def test_a_password_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    settings = RtspSource(kind="rtsp", url="rtsp://127.0.0.1:1/x", username="viewer", password_file=tmp_path / "none")
    with pytest.raises(SourceError, match=r"password file .*none cannot be read or is empty"):
        network_camera(settings)


def test_a_v4l2_device_that_is_not_there_cannot_be_opened() -> None:
    settings = V4l2Source(
        kind="v4l2", device=Path("/dev/video-none"), width=640, height=480, rate=30, pixel_format="MJPG"
    )
    with pytest.raises(SourceError, match="/dev/video-none in the mode asked for cannot be opened"):
        V4l2Camera(settings)


def test_a_numbered_picture_says_its_number() -> None:
    assert [number_of(numbered(number)) for number in (0, 1, 5, 4095)] == [0, 1, 5, 4095]
    assert number_of(np.asarray(numbered(9)[..., 0])) == 9
