"""How many of 16 bits a camera uses is said by station, product or model, in that order, and never guessed."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from camera_line import line_of

from neverblink.camera.picture import SourceError
from neverblink.camera.sources import FolderReplay
from neverblink.camera.streams.pixel_formats import from_pfnc
from neverblink.decisions.rules import rules_of
from neverblink.events import Reason
from neverblink.plant import FolderSource, Payload, Plant, parse_plant
from neverblink.plant.example import EXAMPLE
from neverblink.vision.decode import ImageError, decode, decode_values, raw_content_type, read_image

SCENE = np.random.default_rng(3).integers(20, 240, (24, 32, 3)).astype(np.uint8)
"""(24, 32, 3) uint8 RGB."""

GREY = np.ascontiguousarray(SCENE[..., 1])
NOW = datetime(2026, 11, 1, tzinfo=UTC)


def encoded(suffix: str, image: np.ndarray) -> bytes:
    ordered = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    return cv2.imencode(suffix, ordered)[1].tobytes()


def refusal(data: bytes, **how: Any) -> ImageError:
    with pytest.raises(ImageError) as refused:
        decode(data, **how)
    return refused.value


def folder(tmp_path: Path, bits: int) -> FolderSource:
    values = GREY.astype(np.uint16) << (bits - 8)
    (tmp_path / "part.png").write_bytes(cv2.imencode(".png", values)[1].tobytes())
    return FolderSource(kind="folder", path=tmp_path)


@pytest.mark.parametrize("form", ["png", "jpeg", "raw"])
def test_a_deep_picture_of_a_folder_travels_as_the_eight_bits_that_it_means(tmp_path: Path, form: str) -> None:
    payload = Payload.model_validate({"format": form, "jpeg_quality": 100})
    picture = FolderReplay(folder(tmp_path, 12), payload, 12).grab(1, NOW)
    np.testing.assert_array_equal(picture.pixels[..., 0], GREY)
    arrived = decode(picture.body, content_type=picture.content_type)
    assert np.abs(arrived[..., 0].astype(int) - GREY).max() <= (12 if form == "jpeg" else 0)


def test_a_deep_picture_of_a_folder_without_a_depth_costs_its_part_with_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"part\.png: .* suggests a depth of 12: state it as `depth`") as told:
        FolderReplay(folder(tmp_path, 12), Payload()).grab(1, NOW)
    assert told.value.reason is Reason.WRONG_TYPE


def plant(product: int | None, *stations: int | None) -> Plant:
    line = line_of({})
    found = parse_plant(EXAMPLE)
    own = found.products[0].model_copy(update={"depth": product})
    shown = [
        line.stations[0].model_copy(update={"name": f"s{number}", "product": own.name, "depth": depth})
        for number, depth in enumerate(stations)
    ]
    line = line.model_copy(update={"stations": tuple(shown)})
    return found.model_copy(update={"products": (own,), "lines": (line,)})


def test_a_station_has_its_own_word_and_else_its_products() -> None:
    found = plant(12, None, 10)
    line = found.lines[0].name
    assert found.depths() == {(line, "s0"): 12, (line, "s1"): 10}
    assert plant(None, None).depths() == {}
    product = found.products[0].name
    assert rules_of(found, product, f"{line}/s1").depth == 10
    assert rules_of(plant(None, 14, 14), product).depth == 14
    assert rules_of(plant(12, 14, 10), product).depth == 12


# Cameras


def test_the_format_of_sixteen_bits_says_too_little() -> None:
    values = GREY.astype(np.uint16) << 4
    with pytest.raises(SourceError, match=r"the camera's Mono16 has 16 bits a value .* suggests a depth of 12") as told:
        from_pfnc(values.ravel(), "Mono16", 32, 24)
    assert told.value.reason is Reason.WRONG_TYPE
    np.testing.assert_array_equal(from_pfnc(values.ravel(), "Mono16", 32, 24, 12), GREY)


def test_values_aligned_to_the_left_are_read_where_their_depth_is_stated() -> None:
    left = GREY.astype(np.uint16) << 8
    with pytest.raises(SourceError, match="State `depth: 16` for its station"):
        from_pfnc(left.ravel(), "Mono12", 32, 24)
    np.testing.assert_array_equal(from_pfnc(left.ravel(), "Mono12", 32, 24, 16), GREY)


def test_a_stated_depth_leaves_eight_and_packed_bits_alone() -> None:
    np.testing.assert_array_equal(from_pfnc(GREY.ravel(), "Mono8", 32, 24, 12), GREY)
    packed = np.zeros((GREY.size // 2, 3), np.uint8)
    packed[:, 0], packed[:, 2] = GREY.ravel()[::2], GREY.ravel()[1::2]
    np.testing.assert_array_equal(from_pfnc(packed.ravel(), "Mono12Packed", 32, 24, 16), GREY)


# Files


@pytest.mark.parametrize(("bits", "usual"), [(10, 10), (11, 12), (12, 12), (14, 14), (16, 16)])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_sixteen_bits_without_a_depth_are_refused_with_the_one_that_they_suggest(
    suffix: str, bits: int, usual: int
) -> None:
    values = (GREY.astype(np.uint16) << bits - 8) | 3
    values[0, 0] = (1 << bits) - 1
    told = refusal(encoded(suffix, values))
    assert told.reason == "wrong-type"
    assert f"go up to {(1 << bits) - 1}, which suggests a depth of {usual}" in str(told)


@pytest.mark.parametrize("bits", [8, 9, 10, 12, 14, 16])
def test_a_stated_depth_gives_the_picture_that_eight_bits_would_have_shown(bits: int) -> None:
    rng = np.random.default_rng(0)
    deep = (GREY.astype(np.uint16) << bits - 8) | rng.integers(0, 1 << bits - 8, GREY.shape).astype(np.uint16)
    found = decode(encoded(".png", deep), depth=bits)
    np.testing.assert_array_equal(found, np.repeat(GREY[..., None], 3, axis=2))


def test_values_above_the_stated_depth_are_refused_and_not_cut() -> None:
    values = GREY.astype(np.uint16) << 4
    told = refusal(encoded(".png", values), depth=10)
    assert "is stated to have 10 bits" in str(told)
    assert "suggests a depth of 12" in str(told)


def test_values_aligned_to_the_left_suggest_sixteen() -> None:
    told = refusal(encoded(".png", GREY.astype(np.uint16) << 8))
    assert "suggests a depth of 16" in str(told)


def test_a_depth_says_nothing_about_eight_bits() -> None:
    np.testing.assert_array_equal(decode(encoded(".png", SCENE), depth=12), SCENE)


def test_colours_and_alpha_of_sixteen_bits_are_scaled_alike() -> None:
    deep = SCENE.astype(np.uint16) << 4
    np.testing.assert_array_equal(decode(encoded(".png", deep), depth=12), SCENE)
    alpha = np.dstack([deep[..., ::-1], np.full(GREY.shape, 9, np.uint16)])
    data = cv2.imencode(".png", alpha)[1].tobytes()
    np.testing.assert_array_equal(decode(data, depth=12), SCENE)
    np.testing.assert_array_equal(decode_values(data)[..., 3], 9)


def test_raw_rows_of_sixteen_bits_state_their_depth_or_are_refused(tmp_path: Path) -> None:
    deep = GREY.astype("<u2") << 2
    kind = "image/x-raw; format=grey16; width=32; height=24"
    np.testing.assert_array_equal(decode(deep.tobytes(), content_type=f"{kind}; depth=10")[..., 0], GREY)
    np.testing.assert_array_equal(decode(deep.tobytes(), content_type=kind, depth=10)[..., 0], GREY)
    assert refusal(deep.tobytes(), content_type=kind).reason == "wrong-type"
    colours = SCENE.astype("<u2") << 8
    kind = "image/x-raw; format=rgb16; width=32; height=24; depth=16"
    np.testing.assert_array_equal(decode(colours.tobytes(), content_type=kind), SCENE)
    assert "grey8" in raw_content_type(GREY)


def test_a_file_is_named_in_the_sentence_about_its_depth(tmp_path: Path) -> None:
    path = tmp_path / "part-7.png"
    path.write_bytes(encoded(".png", GREY.astype(np.uint16) << 4))
    with pytest.raises(ImageError, match=r"part-7\.png has 16 bits a value .* suggests a depth of 12: state it as"):
        read_image(path)
