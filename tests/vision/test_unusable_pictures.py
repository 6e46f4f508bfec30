"""Forty files of which fifteen cannot be used, each for a reason of its own: one run, one list; or on without them."""

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image as Pillow
from plates import SIDE, plate, write_plates

from neverblink.trainer.datasets.images import DatasetError, good_images
from neverblink.trainer.datasets.usable_pictures import UnusablePicturesError
from neverblink.trainer.evaluation.jobs import run_evaluate
from neverblink.trainer.evaluation.settings import EvaluateJob
from neverblink.trainer.fitting import opening
from neverblink.trainer.fitting.jobs import run_fit
from neverblink.trainer.fitting.settings import FitJob
from neverblink.vision.artifact import load_artifact
from neverblink.vision.decode import ImageError


def encoded(suffix: str, pixels: np.ndarray, *options: int) -> bytes:
    return bytes(cv2.imencode(suffix, pixels, list(options))[1])


def saved(pixels: np.ndarray, kind: str, **options: object) -> bytes:
    place = io.BytesIO()
    Pillow.fromarray(pixels).save(place, kind, **options)
    return place.getvalue()


def pages(kind: str) -> bytes:
    first, *others = [Pillow.fromarray(plate(seed)[0]) for seed in range(3)]
    place = io.BytesIO()
    first.save(place, kind, save_all=True, append_images=others)
    return place.getvalue()


def bomb() -> bytes:
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"\0" * 100)), (b"IEND", b"")]
    body = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + body


PLATE = plate(500)[0]
DEEP = PLATE.astype(np.uint16) * 16
UNUSABLE: dict[str, bytes] = {
    "empty.png": b"",
    "text.png": b"remember to clean the lens",
    "checksum.png": (lambda data: data[:60] + bytes([data[60] ^ 1]) + data[61:])(encoded(".png", PLATE)),
    "cut.png": encoded(".png", PLATE)[:-40],
    "cut.jpg": encoded(".jpg", PLATE)[:-200],
    "scan lost.jpg": (lambda data: data[: len(data) // 2] + b"\xff\xd9")(encoded(".jpg", PLATE)),
    "cut.bmp": encoded(".bmp", PLATE)[:-500],
    "deep.png": encoded(".png", DEEP),
    "bomb.png": bomb(),
    "moving.gif": pages("GIF"),
    "pages.tif": pages("TIFF"),
    "floating.tif": saved(PLATE.astype(np.float32), "TIFF"),
    "moving.webp": pages("WEBP"),
    "phone.heic": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic",
}
"""With a link that leads nowhere these are fifteen."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "plates"
    place.mkdir()
    for number in range(25):
        cv2.imwrite(str(place / f"{number:03}.png"), plate(number)[0])
    for name, content in UNUSABLE.items():
        (place / name).write_bytes(content)
    (place / "link.png").symlink_to(place / "nowhere.png")
    return place


def job(images: Path, out: Path, **more: object) -> FitJob:
    return FitJob.model_validate(
        {"images": images, "product": "plate", "out": out, "size": SIDE, "engine": "torch", **more}
    )


def test_fit_names_all_fifteen_at_once_before_a_network_is_loaded(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unwanted(*_: object, **__: object) -> None:
        raise AssertionError("a network is loaded before the pictures are known to be usable")

    monkeypatch.setattr(opening, "load_backbone", unwanted)
    stages: list[tuple[str, int, int]] = []
    with pytest.raises(UnusablePicturesError) as error:
        run_fit(job(folder, tmp_path / "model"), lambda *told: stages.append(told))
    first, *listed = str(error.value).splitlines()
    assert "15 of 40 pictures cannot be used" in first
    assert len(listed) == 15
    for name in (*UNUSABLE, "link.png"):
        assert sum(f"{folder / name}" in line for line in listed) == 1
    assert stages[-1] == ("checking the pictures", 40, 40)
    assert isinstance(error.value, DatasetError)
    assert isinstance(error.value, ImageError)
    assert not (tmp_path / "model").exists()


def test_fit_goes_on_without_them_and_counts_and_names_them(folder: Path, tmp_path: Path) -> None:
    done = run_fit(job(folder, tmp_path / "model", skip_unusable=True))
    assert done.images == 25
    (note,) = done.notes
    assert "15 pictures that cannot be used were left out" in note
    assert all(name in note for name in (*UNUSABLE, "link.png"))
    assert len(load_artifact(tmp_path / "model").manifest.provenance.images) == 25


def test_skipping_does_not_fit_to_nothing(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(b"nothing")
    with pytest.raises(UnusablePicturesError, match="2 of 2 pictures cannot be used; mend them or take them away"):
        run_fit(job(tmp_path, tmp_path / "model", skip_unusable=True))


def spoil_image(images: Path) -> str:
    (images / "test/scratch/000.png").write_bytes(b"no")
    return "test/scratch/000.png"


def spoil_mask(images: Path) -> str:
    path = images / "ground_truth/scratch/001_mask.png"
    cv2.imwrite(str(path), np.random.default_rng(0).integers(3, 255, (SIDE, SIDE), dtype=np.uint8))
    return "ground_truth/scratch/001_mask.png is no mask"


def spoil_size(images: Path) -> str:
    cv2.imwrite(str(images / "ground_truth/scratch/002_mask.png"), np.zeros((8, 8), np.uint8))
    return "002_mask.png is 8 × 8 pixels"


def test_evaluate_names_unusable_images_and_masks_at_once_or_goes_on_without(tmp_path: Path) -> None:
    images = write_plates(tmp_path / "plates", train=12, test=5)
    run_fit(job(images, tmp_path / "model"))
    spoils: list[Callable[[Path], str]] = [spoil_image, spoil_mask, spoil_size]
    said = [spoil(images) for spoil in spoils]
    asked = {"images": images, "artifact": tmp_path / "model", "engine": "torch"}
    with pytest.raises(UnusablePicturesError) as error:
        run_evaluate(EvaluateJob.model_validate(asked))
    assert "3 of 10 pictures cannot be used" in str(error.value)
    assert all(sentence in str(error.value) for sentence in said)
    done = run_evaluate(EvaluateJob.model_validate(asked | {"skip_unusable": True}))
    assert (done.evaluation.good, done.evaluation.defective) == (5, 2)
    assert any("3 pictures that cannot be used were left out" in note for note in done.notes)


def test_good_parts_that_a_model_was_fitted_to_do_not_judge_it(tmp_path: Path) -> None:
    images = write_plates(tmp_path / "plates", train=12, test=5)
    place = tmp_path / "kept"
    (images / "test/scratch").rename(images / "scratch")
    (images / "train/good").rename(images / "good")
    (images / "test").rename(place)
    run_fit(job(images, tmp_path / "model"))
    assert len(good_images(images)) == 12
    asked = {"images": images, "artifact": tmp_path / "model", "engine": "torch"}
    done = run_evaluate(EvaluateJob.model_validate(asked))
    assert done.evaluation.good == 12
    assert any("fitted to all 12 good images" in note for note in done.notes)
    for path in (place / "good").iterdir():
        path.rename(images / "good" / f"fresh-{path.name}")
    done = run_evaluate(EvaluateJob.model_validate(asked))
    assert done.evaluation.good == 5
    assert any("12 of 17 good images were left out" in note for note in done.notes)
