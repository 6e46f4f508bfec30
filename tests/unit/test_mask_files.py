"""A mask marks what its file says, whatever painted it: 0/1, 0/255, classes, palettes, colours, alpha, 16 bits."""

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image as Pillow

from neverblink.trainer.datasets.images import read_defect_mask
from neverblink.vision.mask_file import MaskError, read_mask

HEIGHT, WIDTH = 60, 80
IDS = np.zeros((HEIGHT, WIDTH), np.uint8)
IDS[5:15, 5:15] = 1
IDS[30:50, 40:70] = 2
MARKED = IDS > 0
WHITE = MARKED.astype(np.uint8) * 255
BLACK = np.zeros_like(IDS)


def png(folder: Path, pixels: npt.NDArray[np.generic]) -> Path:
    path = folder / "mask.png"
    assert cv2.imwrite(str(path), pixels)
    return path


def palette(folder: Path, *colours: tuple[int, int, int]) -> Path:
    image = Pillow.fromarray(IDS)
    image.putpalette([value for colour in colours for value in colour])
    image.save(folder / "mask.png")
    return folder / "mask.png"


@pytest.mark.parametrize(
    "pixels",
    [
        WHITE,
        WHITE // 255,
        IDS,
        IDS * 40,
        np.where(IDS == 1, 100, np.where(IDS == 2, 255, 0)).astype(np.uint8),
        WHITE.astype(np.uint16) * 257,
        MARKED.astype(np.uint16),
        IDS.astype(np.uint16) * 700,
        np.dstack([BLACK, WHITE, BLACK]),
        np.dstack([BLACK, BLACK, IDS * 90]),
        np.dstack([WHITE, WHITE, WHITE]),
        np.dstack([BLACK, BLACK, BLACK, WHITE]),
        np.dstack([WHITE, BLACK, WHITE, WHITE]),
        np.dstack([WHITE, WHITE, WHITE, np.full_like(WHITE, 255)]),
    ],
    ids=[
        "0/255", "0/1", "ids", "ids far apart", "grey 100 and 255", "16 bits full", "16 bits 0/1", "16 bits ids",
        "green", "two reds", "white in three channels", "black painted on nothing", "violet painted on nothing",
        "opaque",
    ],
)  # fmt: skip
def test_every_way_to_paint_a_mask_marks_the_same_700_pixels(tmp_path: Path, pixels: npt.NDArray[np.generic]) -> None:
    path = png(tmp_path, pixels)
    assert (read_mask(path) == MARKED).all()
    assert (read_defect_mask(path, (HEIGHT, WIDTH), path) == MARKED).all()


def test_a_palettes_first_colour_is_the_background(tmp_path: Path) -> None:
    assert (read_mask(palette(tmp_path, (0, 0, 0), (128, 0, 0), (0, 128, 0))) == MARKED).all()
    assert (read_mask(palette(tmp_path, (255, 255, 255), (0, 0, 0), (200, 0, 0))) == MARKED).all()


@pytest.mark.parametrize("quality", [75, 95])
def test_two_levels_with_soft_edges_are_parted_at_half(tmp_path: Path, quality: int) -> None:
    cv2.imwrite(str(tmp_path / "mask.jpg"), WHITE, [cv2.IMWRITE_JPEG_QUALITY, quality])
    assert (read_mask(tmp_path / "mask.jpg") == MARKED).mean() > 0.99
    smooth = cv2.GaussianBlur(WHITE, (0, 0), 0.8)
    assert (read_mask(png(tmp_path, smooth)) == MARKED).mean() > 0.99


def test_a_turned_picture_and_its_mask_are_turned_alike(tmp_path: Path) -> None:
    exif = Pillow.Exif()
    exif[0x0112] = 6
    Pillow.fromarray(WHITE).save(tmp_path / "mask.jpg", exif=exif, quality=95)
    turned = np.rot90(MARKED, -1)
    assert read_mask(tmp_path / "mask.jpg").shape == turned.shape
    assert (read_mask(tmp_path / "mask.jpg") == turned).mean() > 0.99


def test_an_empty_mask_marks_nothing_and_a_full_one_all(tmp_path: Path) -> None:
    assert not read_mask(png(tmp_path, BLACK)).any()
    for value in (1, 255):
        assert read_mask(png(tmp_path, np.full_like(BLACK, value))).all()


@pytest.mark.parametrize(
    ("pixels", "said"),
    [
        (np.tile(np.arange(40, 120, dtype=np.uint8), (HEIGHT, 1)), r"its values are 40, 41, .* and 72 more"),
        (np.full_like(BLACK, 90), "all of its pixels have the value 90"),
        (np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH), dtype=np.uint8), "its values are 0, 1, 2"),
        (np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8), r"its values are \(\d+, \d+"),
        (np.dstack([IDS * 100, BLACK, BLACK, np.where(IDS == 0, 0, 255).astype(np.uint8)]), None),
        (np.dstack([IDS // 2 * 100, BLACK, BLACK, WHITE]), "by transparency or by colour"),
    ],
    ids=["a photograph", "one grey", "noise", "a colour photograph", "coloured on nothing", "black beside colours"],
)
def test_what_fits_no_rule_is_refused_with_its_values(
    tmp_path: Path, pixels: npt.NDArray[np.uint8], said: str | None
) -> None:
    path = png(tmp_path, pixels)
    if said is None:
        assert (read_mask(path) == MARKED).all()
        return
    with pytest.raises(MaskError, match=said):
        read_mask(path)


def test_classes_kept_as_jpeg_are_refused(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "mask.jpg"), IDS * 40)
    with pytest.raises(MaskError, match="JPEG keeps no classes apart"):
        read_mask(tmp_path / "mask.jpg")
