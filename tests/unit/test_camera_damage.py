"""A picture of which a part is lost is never shown on top of the one before: files, and cameras of every codec."""

import re
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import cv2
import numpy as np
import pytest

from neverblink.camera.live import Shot, Stream
from neverblink.camera.picture import SourceError
from neverblink.camera.sources import open_source
from neverblink.camera.streams.network import network_camera
from neverblink.camera.streams.recording import FilePictures
from neverblink.events import Reason
from neverblink.plant import Payload, RtspSource, Station, VideoSource
from neverblink.vision.decode import decode
from rigs.pictures import BITS, number_of, numbered, video_file
from rigs.rtsp_camera import RtspCamera

SIZE = (BITS * 16, 64)


def parts_of(path: Path, pictures: int) -> list[int | Reason]:
    """Return what each part of a recording shows: its number, or why it is not scored."""
    source = FilePictures(VideoSource(kind="video", path=path, pace="per-part", loop=False), Payload(format="raw"))
    found: list[int | Reason] = []
    with closing(source):
        for part in range(pictures):
            try:
                picture = source.grab(part + 1, datetime.now(UTC))
            except SourceError as error:
                found.append(error.reason)
            else:
                found.append(number_of(decode(picture.body, content_type=picture.content_type)))
    return found


def mpeg4_file(path: Path, pictures: int) -> tuple[Path, list[int]]:
    """Write an MP4 with a key frame every twelve pictures; return it and where its pictures' bytes begin."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 10, SIZE)
    assert writer.isOpened()
    for number in range(pictures):
        writer.write(cv2.cvtColor(numbered(number), cv2.COLOR_RGB2BGR))
    writer.release()
    return path, [match.start() for match in re.finditer(rb"\x00\x00\x01\xb6", path.read_bytes())]


@pytest.mark.parametrize("lost", [0.5, 0.9])
def test_a_damaged_picture_of_a_recording_never_shows_the_part_before(lost: float, tmp_path: Path) -> None:
    path, begins = mpeg4_file(tmp_path / "line.mp4", 40)
    assert parts_of(path, 40) == list(range(40))
    data = bytearray(path.read_bytes())
    from_ = begins[8] + int((begins[9] - begins[8]) * (1 - lost))
    data[from_ : begins[9]] = bytes(begins[9] - from_)
    path.write_bytes(data)
    # The two bits behind the start code are 0 in a picture that stands alone.
    key = next(number for number in range(9, 40) if not data[begins[number] + 4] >> 6)
    assert parts_of(path, 40) == [*range(8), *[Reason.CORRUPT_IMAGE] * (key - 8), *range(key, 40)]


def test_a_damaged_jpeg_of_a_recording_costs_its_own_part_only(tmp_path: Path) -> None:
    path = video_file(tmp_path / "line.avi", 12)
    data = bytearray(path.read_bytes())
    begins = [match.start() for match in re.finditer(rb"\xff\xd8\xff", bytes(data))]
    # Everything after the headers: no decoder can make a picture of it.
    data[begins[5] + 20 : begins[6] - 16] = bytes(begins[6] - begins[5] - 36)
    path.write_bytes(data)
    assert parts_of(path, 12) == [*range(5), Reason.CORRUPT_IMAGE, *range(6, 12)]


def test_a_recording_that_is_cut_off_shows_what_is_whole(tmp_path: Path) -> None:
    path = video_file(tmp_path / "line.avi", 12)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    shown = parts_of(path, 12)
    whole = [part for part in shown if isinstance(part, int)]
    assert whole == list(range(len(whole)))
    assert 3 <= len(whole) <= 7


# Cameras


def shots_of(camera: RtspCamera, pictures: int) -> Iterator[Shot]:
    with closing(network_camera(RtspSource(kind="rtsp", url=camera.url, silent_after_s=5))) as stream:
        found, give_up = 0, time.monotonic() + 20
        while found < pictures:
            assert time.monotonic() < give_up
            if (shot := stream.read(0.5)) is not None:
                found += 1
                yield shot


def shown_by(camera: RtspCamera, last: int) -> list[int | str]:
    """Return the number of each whole picture up to `last`, and `-` for each that is damaged.

    A coder that is slow to begin sends its first pictures in a burst, and some of these are thrown away.
    """
    found: list[int | str] = []
    for shot in shots_of(camera, last + 20):
        found.append(number_of(shot.pixels) if shot.fault is None else "-")
        if found[-1] == last:
            break
    return found


def read_on(stream: Stream, within_s: float) -> None:
    give_up = time.monotonic() + within_s
    while time.monotonic() < give_up:
        stream.read(0.2)


Loss = Callable[[int, int, int], bool]


def second_packet(number: int, packet: int, packets: int) -> bool:
    return number == 33 and packet == 1


def last_packet(number: int, packet: int, packets: int) -> bool:
    return number == 33 and packet == packets - 1


def first_packet(number: int, packet: int, packets: int) -> bool:
    return number == 33 and packet == 0


def whole_picture(number: int, packet: int, packets: int) -> bool:
    return number == 33


@pytest.mark.parametrize("codec", ["H264", "H265"])
@pytest.mark.parametrize("loss", [first_packet, second_packet, last_packet, whole_picture])
def test_a_lost_packet_costs_the_pictures_up_to_the_next_key_frame(codec: str, loss: Loss) -> None:
    with RtspCamera(numbered, rate=25, codec=codec, gop=10, loses=loss) as camera:
        shown = shown_by(camera, 45)
    assert shown[0] != "-"
    assert shown == [*range(int(shown[0]), 33), *["-"] * 7, *range(40, 46)]


@pytest.mark.parametrize("loss", [first_packet, second_packet, last_packet, whole_picture])
def test_a_lost_packet_costs_one_picture_of_motion_jpeg(loss: Loss) -> None:
    with RtspCamera(numbered, rate=50, loses=loss) as camera:
        shown = shown_by(camera, 45)
    assert shown == [*range(int(shown[0]), 33), "-", *range(34, 46)]


@pytest.mark.parametrize("codec", ["JPEG", "H264", "H265"])
def test_packets_lost_at_random_leave_whole_pictures_in_order_or_none(codec: str) -> None:
    random = np.random.default_rng(5)
    lost = random.random((400, 64)) < 0.02

    def loses(number: int, packet: int, packets: int) -> bool:
        return bool(number > 3 and lost[number, packet % 64])

    with RtspCamera(numbered, rate=50, codec=codec, gop=5, loses=loses) as camera:
        shots = list(shots_of(camera, 100))
    whole = [number_of(shot.pixels) for shot in shots if shot.fault is None]
    assert whole == sorted(set(whole))
    for number, shot in zip(whole, (shot for shot in shots if shot.fault is None), strict=True):
        # A picture on top of another one would be half that one's noise.
        assert np.abs(shot.pixels.astype(int) - numbered(number)).mean() < 20
    assert any(shot.fault is not None for shot in shots)


def test_a_part_whose_packet_is_lost_is_corrupt_at_the_station() -> None:
    station = Station.model_validate(
        {"name": "top", "product": "pcb", "source": {"kind": "rtsp", "url": "rtsp://x/y", "max_age_ms": 0,
                                                     "wait_ms": 5000}, "trigger": {"kind": "timer"}}
    )  # fmt: skip
    with RtspCamera(numbered, rate=10, codec="H264", gop=50, loses=lambda n, p, _: n == 8 and p == 0) as camera:
        settings = station.source.model_copy(update={"url": camera.url})
        source = open_source(station.model_copy(update={"source": settings}), "line-1/top")
        with closing(source):
            source.grab(1, datetime.now(UTC))
            time.sleep(0.8)
            with pytest.raises(SourceError, match=r"packets? of the camera did not arrive|damaged one") as told:
                source.grab(2, datetime.now(UTC))
        assert told.value.reason is Reason.CORRUPT_IMAGE


# When it was taken


def test_a_backlog_is_stamped_by_the_cameras_clock_or_thrown_away() -> None:
    """Thirty pictures of the last 1.2 s come at once."""
    with RtspCamera(numbered, rate=25, backlog=30) as camera:
        for shot in shots_of(camera, 12):
            number = number_of(shot.pixels)
            assert abs(shot.at.timestamp() - dict(camera.exposed)[number]) < 0.2
    assert number >= 30


def test_a_picture_that_was_read_late_is_as_old_as_it_is() -> None:
    with RtspCamera(numbered, rate=25) as camera:
        shots = shots_of(camera, 40)
        for _ in range(10):
            next(shots)
        time.sleep(0.8)  # the node was busy; the pictures lie in the network's buffers
        ages = [time.time() - next(shots).at.timestamp() for _ in range(15)]
    assert ages[0] > 0.6
    assert ages == sorted(ages, reverse=True)


def test_a_camera_that_falls_silent_is_told_when_it_has_been_silent_so_long() -> None:
    with RtspCamera(numbered, rate=25) as camera:
        stream = network_camera(RtspSource(kind="rtsp", url=camera.url, silent_after_s=1))
        with closing(stream):
            while stream.read(0.2) is None:
                pass
            camera.silence()
            silent = time.monotonic()
            with pytest.raises(SourceError, match=r"sends no more pictures: none came for 1 s"):
                read_on(stream, 5)
            assert time.monotonic() - silent > 0.8


@pytest.mark.parametrize("codec", ["H264", "H265"])
def test_pictures_of_a_video_codec_come_in_order(codec: str) -> None:
    with RtspCamera(numbered, rate=25, codec=codec) as camera:
        shown = shown_by(camera, 35)
    assert shown == list(range(int(shown[0]), 36))


def test_a_codec_that_is_not_understood_is_refused_with_those_that_are() -> None:
    with (
        RtspCamera(numbered, codec="VP8") as camera,
        pytest.raises(SourceError, match="sends VP8; set the camera to one of H264, H265, MP4V-ES, JPEG"),
    ):
        network_camera(RtspSource(kind="rtsp", url=camera.url))


def test_a_camera_that_wants_a_digest_gets_it_and_not_the_password(tmp_path: Path) -> None:
    (tmp_path / "right").write_text("s3cret\n")
    with RtspCamera(numbered, rate=50, password="s3cret", digest=True) as camera:
        settings = RtspSource(kind="rtsp", url=camera.url, username="viewer", password_file=tmp_path / "right")
        with closing(network_camera(settings)) as stream:
            assert any(stream.read(1) is not None for _ in range(10))
        (tmp_path / "right").write_text("guess\n")
        with pytest.raises(SourceError, match="it wants another username and password"):
            network_camera(settings)
