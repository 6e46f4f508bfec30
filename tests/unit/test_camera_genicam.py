"""GenICam cameras, against the software GenTL producer that comes with the package `genicam`.

Viky is a complete producer with three cameras that draw a bouncing ball and count their pictures; only the wire and the
trigger input of a real camera are missing.
"""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from neverblink.camera.picture import SourceError
from neverblink.camera.sources import open_source
from neverblink.camera.streams.pixel_formats import KNOWN, from_pfnc
from neverblink.camera.triggers import station_triggers
from neverblink.events import Reason
from neverblink.plant import GenicamSource, Line, Station

genicam = pytest.importorskip("genicam", reason="the extra neverblink[genicam] is not installed")

from neverblink.camera.streams.genicam import GenicamCamera  # noqa: E402

VIKY = Path(genicam.__file__).parent / "viky.cti"

pytestmark = pytest.mark.skipif(not VIKY.is_file(), reason="this package genicam brings no software GenTL producer")


def settings(serial: str | None = "0", **nodes: bool | float | str) -> GenicamSource:
    return GenicamSource(kind="genicam", producer=VIKY, serial=serial, nodes=nodes)


@pytest.fixture
def camera() -> Iterator[GenicamCamera]:
    found = GenicamCamera(settings(PixelFormat="Mono8", AcquisitionFrameRate=50))
    yield found
    found.close()


def test_pictures_come_with_the_cameras_own_count(camera: GenicamCamera) -> None:
    shots = [camera.read(2) for _ in range(5)]
    assert [shot.count for shot in shots if shot is not None] == [1, 2, 3, 4, 5]
    assert all(shot.pixels.shape == (400, 400) for shot in shots if shot is not None)


def test_a_colour_camera_gives_rgb() -> None:
    # Camera 0 draws a red ball on white.
    camera = GenicamCamera(settings(PixelFormat="RGBa8"))
    shot = camera.read(2)
    assert shot is not None
    assert shot.pixels.shape == (400, 400, 3)
    ball = shot.pixels[shot.pixels.min(axis=2) < 100]
    assert ball[:, 0].mean() > ball[:, 1].mean() + 50
    assert ball[:, 0].mean() > ball[:, 2].mean() + 50
    camera.close()


def test_no_picture_within_the_time_is_none() -> None:
    camera = GenicamCamera(settings(AcquisitionFrameRate=1))
    assert camera.read(0.2) is None
    camera.close()


def test_pictures_are_copies_that_the_next_one_does_not_overwrite(camera: GenicamCamera) -> None:
    first = camera.read(2)
    assert first is not None
    before = first.pixels.copy()
    for _ in range(20):
        camera.read(2)
    np.testing.assert_array_equal(first.pixels, before)


def test_two_stations_share_one_producer() -> None:
    one, other = GenicamCamera(settings("0")), GenicamCamera(settings("1"))
    one.close()
    assert other.read(2) is not None
    other.close()


def test_a_camera_can_be_opened_again() -> None:
    for _ in range(2):
        camera = GenicamCamera(settings())
        assert camera.read(2) is not None
        camera.close()


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (settings("77"), r"viky\.cti sees no camera 77; it sees 0, 1, 2"),
        (settings(None), r"viky\.cti sees 3 cameras \(0, 1, 2\); set source\.serial to one"),
        (settings(Exposure=1), "the camera does not take Exposure: 1"),
        (settings(PixelFormat="Rainbow"), "does not take PixelFormat: Rainbow: .*cannot convert value 'Rainbow'"),
        (settings(AcquisitionFrameRate=-5), r"-5: Value -5\.0+ must be greater than or equal"),
        (settings(AcquisitionFrameRate="fast"), "the camera does not take AcquisitionFrameRate: fast"),
        (settings(PixelFormat=True), "the camera does not take PixelFormat: True: .*'On'"),
        (
            GenicamSource(kind="genicam", producer=Path("/none.cti")),
            r"the GenTL producer /none\.cti cannot be loaded; is it where its installer put it\?",
        ),
        (
            GenicamSource(kind="genicam", producer=Path(__file__)),
            r"the GenTL producer .*test_camera_genicam\.py cannot be loaded",
        ),
    ],
)
def test_what_the_camera_or_its_producer_refuses_is_told_in_a_sentence(wrong: GenicamSource, sentence: str) -> None:
    with pytest.raises(SourceError, match=sentence):
        GenicamCamera(wrong)
    # And the camera is free for the next try.
    camera = GenicamCamera(settings())
    camera.close()


def test_a_camera_in_other_hands_cannot_be_opened() -> None:
    camera = GenicamCamera(settings())
    with pytest.raises(SourceError, match="cannot open the camera"):
        GenicamCamera(settings())
    camera.close()


async def test_pictures_that_the_camera_counted_and_nobody_got_are_lost_parts() -> None:
    """The producer has no buffer left while nobody reads, and drops pictures as a camera on a full wire does."""
    station = Station.model_validate(
        {
            "name": "top",
            "product": "pcb",
            "source": settings(PixelFormat="Mono8", AcquisitionFrameRate=50).model_dump(),
            "trigger": {"kind": "hardware"},
            "buffer_frames": 64,
        }
    )
    line = Line.model_validate(
        {"name": "line-1", "timing": {"distance_to_gate_m": 2, "speed_m_s": 1}, "stations": [station.model_dump()]}
    )
    source = open_source(station, "line-1/top")
    opened = source._connect  # type: ignore[attr-defined]

    def connect() -> GenicamCamera:
        camera: GenicamCamera = opened()
        read = camera.read
        stalls = iter([0.0, 0.0, 0.0, 0.8])

        def stalled(timeout_s: float) -> object:
            time.sleep(next(stalls, 0.0))
            return read(timeout_s)

        camera.read = stalled  # type: ignore[method-assign, assignment]
        return camera

    source._connect = connect  # type: ignore[attr-defined]
    found = []
    async with asyncio.timeout(20):
        async for trigger in station_triggers(line, station, source, asyncio.Event()):  # type: ignore[arg-type]
            found.append(trigger)
            if len(found) == 60:
                break
    source.close()
    lost = [trigger for trigger in found if trigger.missed]
    assert len(lost) > 10  # forty pictures in the 0.8 s, and eight buffers
    assert [trigger.number for trigger in found] == list(range(1, 61))
    assert all((trigger.shot is None) == (trigger.missed is not None) for trigger in found)


# Pixel formats


def scene() -> np.ndarray:
    rows, columns = np.mgrid[0:32, 0:48]
    return np.stack([rows * 5 + 60, columns * 3 + 40, 250 - rows * 4], axis=2).astype(np.uint8)


def mosaic(rgb: np.ndarray, first_row: str, second_row: str) -> np.ndarray:
    channel = {"R": 0, "G": 1, "B": 2}
    out = np.empty(rgb.shape[:2], np.uint8)
    for row, letters in enumerate((first_row, second_row)):
        for column, letter in enumerate(letters):
            out[row::2, column::2] = rgb[row::2, column::2, channel[letter]]
    return out


@pytest.mark.parametrize(
    ("name", "rows"),
    [("BayerRG8", ("RG", "GB")), ("BayerBG8", ("BG", "GR")), ("BayerGR8", ("GR", "BG")), ("BayerGB8", ("GB", "RG"))],
)
def test_a_bayer_mosaic_comes_back_in_its_colours(name: str, rows: tuple[str, str]) -> None:
    rgb = scene()
    found = from_pfnc(mosaic(rgb, *rows).ravel(), name, 48, 32)
    inner = (slice(2, -2), slice(2, -2))
    assert np.abs(found[inner].astype(int) - rgb[inner]).max() <= 6


@pytest.mark.parametrize("bits", [10, 12, 14, 16])
def test_deep_pixels_keep_their_upper_eight_bits(bits: int) -> None:
    grey = scene()[..., 0]
    deep = grey.astype(np.uint16) << (bits - 8)
    stated = 16 if bits == 16 else None  # many cameras send 12 bits by the name of 16
    np.testing.assert_array_equal(from_pfnc(deep.ravel(), f"Mono{bits}", 48, 32, stated), grey)
    mosaic_ = mosaic(scene(), "RG", "GB").astype(np.uint16) << (bits - 8)
    shallow = from_pfnc(mosaic(scene(), "RG", "GB").ravel(), "BayerRG8", 48, 32)
    np.testing.assert_array_equal(from_pfnc(mosaic_.ravel(), f"BayerRG{bits}", 48, 32, stated), shallow)


def test_colour_formats_come_back_as_rgb() -> None:
    rgb = scene()
    alpha = np.full((32, 48, 1), 255, np.uint8)
    bgr = rgb[..., ::-1]
    for name, sent in (
        ("RGB8", rgb),
        ("BGR8", bgr),
        ("RGBa8", np.concatenate([rgb, alpha], axis=2)),
        ("BGRa8", np.concatenate([bgr, alpha], axis=2)),
    ):
        np.testing.assert_array_equal(from_pfnc(sent.ravel(), name, 48, 32), rgb)
    grey = np.full((32, 48, 3), 100, np.uint8)
    for name, code in (("YUV422_8", cv2.COLOR_RGB2YUV_YUY2), ("YUV422_8_UYVY", cv2.COLOR_RGB2YUV_UYVY)):
        packed = cv2.cvtColor(grey, code)
        assert np.abs(from_pfnc(packed.ravel(), name, 48, 32).astype(int) - 100).max() <= 2


def test_a_format_that_is_not_known_is_refused_with_those_that_are() -> None:
    with pytest.raises(SourceError, match="the camera sends Mono1p; set the node PixelFormat to one of RGB8") as told:
        from_pfnc(np.zeros(100, np.uint8), "Mono1p", 10, 10)
    assert told.value.reason is Reason.WRONG_TYPE
    assert "BayerRG12" in KNOWN


def test_fewer_pixels_than_stated_are_a_corrupt_image() -> None:
    with pytest.raises(SourceError, match="states 10 × 10 pixels of RGB8 and sends 299 values") as told:
        from_pfnc(np.zeros(299, np.uint8), "RGB8", 10, 10)
    assert told.value.reason is Reason.CORRUPT_IMAGE
