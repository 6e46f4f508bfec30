"""Network cameras that send motion JPEG over HTTP."""

import time
from contextlib import closing
from datetime import UTC, datetime

import pytest

from neverblink.camera.live import Shot
from neverblink.camera.picture import SourceError
from neverblink.camera.streams.network import network_camera
from neverblink.plant import RtspSource
from rigs.mjpeg_camera import MjpegCamera
from rigs.pictures import number_of, numbered


def camera_settings(camera: MjpegCamera) -> RtspSource:
    return RtspSource(kind="rtsp", url=camera.url, silent_after_s=2)


def read(camera: MjpegCamera, pictures: int) -> list[Shot]:
    with closing(network_camera(camera_settings(camera))) as stream:
        found: list[Shot] = []
        while len(found) < pictures:
            if (shot := stream.read(2)) is not None:
                found.append(shot)
        return found


@pytest.mark.parametrize("tells_size", [True, False])
def test_pictures_come_in_order(tells_size: bool) -> None:
    with MjpegCamera(numbered, rate=100, tells_size=tells_size) as camera:
        assert [number_of(shot.whole()) for shot in read(camera, 12)] == list(range(12))


def test_a_picture_that_is_cut_off_is_one_damaged_picture() -> None:
    with MjpegCamera(numbered, rate=100, spoil=lambda n, jpeg: jpeg[: len(jpeg) // 2] if n == 3 else jpeg) as camera:
        shots = read(camera, 6)
    assert [shot.fault is None for shot in shots] == [True, True, True, False, True, True]


def test_what_lay_in_the_networks_buffers_may_be_as_old_as_these_were_unread() -> None:
    with MjpegCamera(numbered, rate=25) as camera, closing(network_camera(camera_settings(camera))) as stream:
        first = stream.read(2)
        assert first is not None
        assert first.unsure_s == 0
        time.sleep(0.6)
        oldest = stream.read(2)
        assert oldest is not None
        assert (datetime.now(UTC) - oldest.earliest).total_seconds() > 0.5
        for _ in range(40):
            shot = stream.read(2)
        assert shot is not None
        assert shot.unsure_s == 0


def test_a_camera_that_falls_silent_is_told() -> None:
    with MjpegCamera(numbered, rate=25) as camera, closing(network_camera(camera_settings(camera))) as stream:
        assert stream.read(2) is not None
        camera.silence()
        time.sleep(0.1)
        while stream.read(0.1) is not None:
            pass
        time.sleep(2.0)
        with pytest.raises(SourceError, match="sends no more pictures: none came for 2 s"):
            stream.read(0.1)


def test_a_page_is_no_camera() -> None:
    with MjpegCamera(numbered) as camera:
        settings = camera_settings(camera).model_copy(update={"url": camera.url.replace("http:", "rtsp:")})
        with pytest.raises(SourceError, match="cannot be opened"):
            network_camera(settings)
