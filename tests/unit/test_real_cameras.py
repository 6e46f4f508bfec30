"""Cameras of others' making: GStreamer's RTSP server, and Aravis' fake GigE Vision camera on loopback."""

import itertools
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from neverblink.camera.live import LiveSource, Shot, Stream
from neverblink.camera.picture import SourceError
from neverblink.camera.picture_counter import PictureCounter
from neverblink.camera.sources import open_source
from neverblink.camera.streams.network import network_camera
from neverblink.events import Reason
from neverblink.plant import GigeSource, RtspSource, Station
from rigs.gige_camera import FakeGigeCamera, have_aravis
from rigs.gst_rtsp_camera import GstRtspCamera, have_gstreamer
from rigs.pictures import number_of

pytestmark = pytest.mark.plant


def shots_for(stream: Stream, seconds: float) -> Iterator[Shot]:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if (shot := stream.read(0.2)) is not None:
            yield shot


def read_until_gone(stream: Stream, within_s: float) -> float:
    """Return after how many seconds the camera is told to be gone."""
    began = time.monotonic()
    while time.monotonic() - began < within_s:
        try:
            stream.read(0.2)
        except SourceError:
            return time.monotonic() - began
    raise AssertionError(f"it was not noticed within {within_s} s")


def station_of(source: dict[str, object], trigger: str = "timer") -> Station:
    return Station.model_validate(
        {"name": "top", "product": "pcb", "source": source, "trigger": {"kind": trigger}, "payload": {"format": "raw"}}
    )


# RTSP


@pytest.fixture(scope="module")
def _gstreamer() -> None:
    have_gstreamer()


@pytest.mark.usefixtures("_gstreamer")
def test_a_real_rtsp_server_shows_its_pictures_in_order_and_on_time() -> None:
    with GstRtspCamera() as camera, closing(network_camera(RtspSource(kind="rtsp", url=camera.url))) as stream:
        shots = list(shots_for(stream, 4))
    numbers = [number_of(shot.pixels) for shot in shots]
    assert len(numbers) > 60
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    # Each is stamped by the camera's clock: as far from the first as its number says, whenever it was read.
    late = [(shot.at - shots[0].at).total_seconds() - place / 25 for place, shot in enumerate(shots)]
    assert max(late) - min(late) < 0.1


@pytest.mark.usefixtures("_gstreamer")
def test_lost_packets_of_a_real_rtsp_server_show_no_picture_that_never_was() -> None:
    with GstRtspCamera(drop=0.03) as camera, closing(network_camera(RtspSource(kind="rtsp", url=camera.url))) as stream:
        shots = list(shots_for(stream, 8))
    whole = [shot for shot in shots if shot.fault is None]
    numbers = [number_of(shot.pixels) for shot in whole]
    assert len(shots) - len(whole) > 5
    assert len(whole) > 20
    assert numbers == sorted(set(numbers))
    for shot, number in zip(whole, numbers, strict=True):
        at = number * 3 % 184
        # The bar is where it was drawn, and nowhere else: no rest of the picture before.
        bright = shot.pixels[30:, :, 1].mean(axis=0) > 150
        assert bright[at + 1 : at + 7].all()
        assert bright.sum() <= 12


@pytest.mark.usefixtures("_gstreamer")
def test_a_real_rtsp_server_that_stops_is_told_in_time_and_its_old_pictures_are_old() -> None:
    with GstRtspCamera() as camera:
        with closing(network_camera(RtspSource(kind="rtsp", url=camera.url, silent_after_s=2))) as stream:
            assert len(list(shots_for(stream, 2))) > 20
            camera.silence()
            assert 1.0 < read_until_gone(stream, 5) < 3.5
        camera.speak()
        with closing(network_camera(RtspSource(kind="rtsp", url=camera.url, silent_after_s=5))) as stream:
            for _ in shots_for(stream, 2):
                pass
            time.sleep(1.0)  # the node was busy
            shot = next(shots_for(stream, 2))
            assert (datetime.now(UTC) - shot.at).total_seconds() > 0.7


@pytest.mark.usefixtures("_gstreamer")
def test_no_part_gets_a_picture_older_than_its_station_allows() -> None:
    with GstRtspCamera() as camera:
        source = open_source(station_of({"kind": "rtsp", "url": camera.url, "max_age_ms": 100, "wait_ms": 3000}))
        with closing(source):
            source.grab(1, datetime.now(UTC))
            time.sleep(1.0)
            first = number_of(source.grab(2, datetime.now(UTC)).pixels)
            began = time.monotonic()
            for _ in range(10):
                time.sleep(0.2)
                number = number_of(source.grab(3, datetime.now(UTC)).pixels)
                ideal = first + (time.monotonic() - began) * 25
                assert abs(number - ideal) < 6


# GigE Vision


@pytest.fixture(scope="module")
def _aravis() -> None:
    have_aravis()


gige = pytest.mark.usefixtures("_aravis")


def settings(**more: object) -> GigeSource:
    nodes = {"PixelFormat": "Mono8", "AcquisitionFrameRate": 50, "Width": 256, "Height": 256}
    fields = {"kind": "gige", "camera": "127.0.0.1", "packet_size": 1400, "nodes": nodes, "wait_ms": 2000, **more}
    return GigeSource.model_validate(fields)


def opened(**more: object) -> Stream:
    from neverblink.camera.streams.gige import GigeCamera

    return GigeCamera(settings(**more), newest=False)


@gige
def test_pictures_of_a_gige_camera_are_counted_across_the_wrap_of_their_ids() -> None:
    counter = PictureCounter()
    with FakeGigeCamera(), closing(opened()) as stream:
        shots = list(shots_for(stream, 5))
    counts = [shot.count for shot in shots if shot.count is not None]
    assert len(shots) > 150
    assert max(counts) == 65535
    assert 0 not in counts
    assert min(counts) == 1
    lost = [counter.lost_before(count) for count in counts]
    assert sum(lost) <= 5  # a loaded machine may lose one; the wrap alone would be tens of thousands
    assert all(shot.whole().shape == (256, 256) for shot in shots)
    assert all(timedelta(0) <= later.at - one.at < timedelta(seconds=1) for one, later in itertools.pairwise(shots))


@gige
def test_lost_packets_of_a_gige_camera_cost_their_own_picture_and_the_camera_stays_open() -> None:
    with FakeGigeCamera(lost_per_mille=4), closing(opened(packet_resend=False)) as stream:
        shots = list(shots_for(stream, 4))
    damaged = [shot for shot in shots if shot.fault is not None]
    assert damaged
    assert len(shots) - len(damaged) > 30
    assert {shot.fault.reason for shot in damaged if shot.fault} == {Reason.CORRUPT_IMAGE}


@gige
def test_a_gige_camera_that_dies_is_told_and_comes_back() -> None:
    with FakeGigeCamera() as camera:
        source = open_source(station_of(settings(wait_ms=15_000).model_dump()), "line-1/top")
        assert isinstance(source, LiveSource)
        with closing(source):
            source.grab(1, datetime.now(UTC))
            camera.die()
            end = time.monotonic() + 15
            while source.connected and time.monotonic() < end:
                time.sleep(0.05)
            assert not source.connected
            with FakeGigeCamera():
                assert source.grab(2, datetime.now(UTC)).pixels.shape == (256, 256)


@gige
def test_a_gige_camera_shows_a_part_its_newest_picture_and_not_the_queues_oldest() -> None:
    from neverblink.camera.streams.gige import GigeCamera

    with FakeGigeCamera(), closing(GigeCamera(settings(), newest=True)) as stream:
        next(shots_for(stream, 2))
        time.sleep(0.1)  # five pictures wait
        shot = next(shots_for(stream, 2))
        assert shot.skipped >= 2
        assert (datetime.now(UTC) - shot.at).total_seconds() < 0.1
        time.sleep(1.0)  # all eight buffers are full, and the newest is old too
        shot = next(shots_for(stream, 2))
        assert (datetime.now(UTC) - shot.at).total_seconds() > 0.5


@gige
def test_a_gige_camera_that_the_node_fires_takes_one_picture_a_part() -> None:
    with FakeGigeCamera():
        source = open_source(station_of(settings(software_trigger=True).model_dump()), "line-1/top")
        with closing(source):
            seen = []
            for number in range(5):
                at = datetime.now(UTC)
                seen.append(source.grab(number, at).pixels)
                time.sleep(0.05)
        assert isinstance(source, LiveSource)
        assert not any(np.array_equal(one, later) for one, later in itertools.pairwise(seen))


@gige
@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"camera": "192.0.2.77"}, r"192\.0\.2\.77 cannot be opened"),
        ({"nodes": {"Exposure": 1}}, "does not take Exposure: it has no such feature"),
        ({"nodes": {"PixelFormat": "Rainbow"}}, "does not take PixelFormat: Rainbow"),
    ],
)
def test_what_a_gige_camera_refuses_is_told_in_a_sentence(wrong: dict[str, object], sentence: str) -> None:
    with FakeGigeCamera(), pytest.raises(SourceError, match=sentence):
        opened(**wrong)
