"""Data sets as people have them: every layout gives the same parts, types and masks, or says in a sentence why not."""

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from neverblink.trainer.datasets.defect_images import defect_images
from neverblink.trainer.datasets.images import (
    DatasetError,
    LabelledImage,
    good_images,
    image_folder,
    images_in,
    labelled_images,
)
from neverblink.trainer.datasets.inputs import FolderInputs

HEIGHT, WIDTH = 40, 50
SCRATCH = (10, 5, 30, 9)
"""Left, top, right, bottom (not included) of what every layout here marks."""


def picture(path: Path, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    cv2.imwrite(str(path), pixels)
    return path


def marks() -> npt.NDArray[np.bool_]:
    left, top, right, bottom = SCRATCH
    mask = np.zeros((HEIGHT, WIDTH), np.bool_)
    mask[top:bottom, left:right] = True
    return mask


def mask_file(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), marks().astype(np.uint8) * 255)
    return path


def corners() -> list[list[float]]:
    left, top, right, bottom = SCRATCH
    return [[left + 0.5, top + 0.5], [right - 0.5, top + 0.5], [right - 0.5, bottom - 0.5], [left + 0.5, bottom - 0.5]]


def mvtec(root: Path) -> Path:
    picture(root / "train/good/0.png", 10)
    picture(root / "test/good/1.png", 1)
    picture(root / "test/scratch/2.png", 2)
    mask_file(root / "ground_truth/scratch/2_mask.png")
    return root


def mvtec_without_suffix(root: Path) -> Path:
    mvtec(root)
    (root / "ground_truth/scratch/2_mask.png").rename(root / "ground_truth/scratch/2.png")
    return root


def folders_with_masks_elsewhere(root: Path) -> Path:
    picture(root / "OK/1.png", 1)
    picture(root / "scratch/2.jpg", 2)
    mask_file(root / "masks/scratch/2.png")
    return root


def folders_with_masks_beside(root: Path) -> Path:
    picture(root / "good/1.png", 1)
    picture(root / "scratch/2.png", 2)
    mask_file(root / "scratch/2_mask.png")
    return root


def folders_with_flat_masks(root: Path) -> Path:
    picture(root / "normal/1.png", 1)
    picture(root / "scratch/2.png", 2)
    mask_file(root / "ground_truth/2.png")
    return root


def table(between: str) -> Callable[[Path], Path]:
    def write(root: Path) -> Path:
        picture(root / "shots/1.png", 1)
        picture(root / "shots/2.png", 2)
        mask_file(root / "drawn/2.png")
        rows = [("Path", "Label", "Mask"), ("shots\\1.png", "OK", ""), ("shots/2.png", "scratch", "drawn/2.png")]
        (root / "labels.csv").write_text("\n".join(between.join(row) for row in rows), encoding="utf-8-sig")
        return root

    return write


def labelme(root: Path) -> Path:
    for number, shapes in (
        (1, []),
        (2, [{"label": "scratch", "shape_type": "polygon", "points": corners()}]),
    ):
        picture(root / f"{number}.png", number)
        document = {
            "version": "5.5.0", "flags": {}, "shapes": shapes, "imagePath": f"..\\shots\\{number}.png",
            "imageHeight": HEIGHT, "imageWidth": WIDTH, "imageData": None,
        }  # fmt: skip
        (root / f"{number}.json").write_text(json.dumps(document))
    return root


def coco(root: Path, shape: dict[str, object] | None = None, where: str = "instances.json") -> Path:
    picture(root / "images/1.png", 1)
    picture(root / "images/2.png", 2)
    polygon = {"segmentation": [[value for point in corners() for value in point]]}
    document = {
        "images": [{"id": number, "file_name": f"{number}.png", "height": HEIGHT, "width": WIDTH} for number in (1, 2)],
        "categories": [{"id": 7, "name": "scratch"}],
        "annotations": [{"id": 1, "image_id": 2, "category_id": 7, "iscrowd": 0, **(shape or polygon)}],
    }
    (root / where).parent.mkdir(exist_ok=True)
    (root / where).write_text(json.dumps(document))
    return root


def runs() -> list[int]:
    """COCO's counts, column by column, beginning with what is off."""
    flat = marks().T.ravel()
    changes = np.flatnonzero(np.diff(flat)) + 1
    counts: list[int] = np.diff([0, *changes, flat.size]).tolist()
    return counts


def coco_counts(root: Path) -> Path:
    return coco(root, {"segmentation": {"size": [HEIGHT, WIDTH], "counts": runs()}})


def packed() -> str:
    """COCO's compressed counts, written here from its description."""
    text, counts = "", runs()
    for place, count in enumerate(counts):
        value = count - counts[place - 2] if place > 2 else count
        more = True
        while more:
            bits = value & 0x1F
            value >>= 5
            more = value != -1 if bits & 0x10 else value != 0
            text += chr(48 + (bits | 0x20 if more else bits))
    return text


def coco_packed_counts(root: Path) -> Path:
    return coco(root, {"segmentation": {"size": [HEIGHT, WIDTH], "counts": packed()}}, "annotations/train.json")


def coco_boxes(root: Path) -> Path:
    left, top, right, bottom = SCRATCH
    return coco(root, {"segmentation": [], "bbox": [left, top, right - left, bottom - top]})


def cvat(shape: str) -> Callable[[Path], Path]:
    def write(root: Path) -> Path:
        picture(root / "images/1.png", 1)
        picture(root / "images/2.png", 2)
        (root / "annotations.xml").write_text(
            '<?xml version="1.0" encoding="utf-8"?><annotations><version>1.1</version><meta><task/></meta>'
            f'<image id="0" name="images/1.png" width="{WIDTH}" height="{HEIGHT}"></image>'
            f'<image id="1" name="images/2.png" width="{WIDTH}" height="{HEIGHT}">{shape}</image></annotations>'
        )
        return root

    return write


CVAT_POLYGON = '<polygon label="scratch" points="' + ";".join(f"{x},{y}" for x, y in corners()) + '" z_order="0"/>'
CVAT_BOX = '<box label="scratch" xtl="10" ytl="5" xbr="30" ybr="9" occluded="0"/>'
CVAT_MASK = '<mask label="scratch" rle="0, 80" left="10" top="5" width="20" height="4"/>'

LAYOUTS: dict[str, Callable[[Path], Path]] = {
    "MVTec": mvtec,
    "MVTec, masks named alike": mvtec_without_suffix,
    "folders, masks elsewhere": folders_with_masks_elsewhere,
    "folders, masks beside": folders_with_masks_beside,
    "folders, masks in one folder": folders_with_flat_masks,
    "table, comma": table(","),
    "table, semicolon": table(";"),
    "table, tab": table("\t"),
    "LabelMe": labelme,
    "COCO": coco,
    "COCO, counts": coco_counts,
    "COCO, packed counts": coco_packed_counts,
    "COCO, boxes": coco_boxes,
    "CVAT": cvat(CVAT_POLYGON),
    "CVAT, box": cvat(CVAT_BOX),
    "CVAT, mask": cvat(CVAT_MASK),
}


@pytest.mark.parametrize("write", LAYOUTS.values(), ids=LAYOUTS)
def test_every_layout_has_one_good_part_and_one_scratch_with_its_pixels(
    tmp_path: Path, write: Callable[[Path], Path]
) -> None:
    folder = write(tmp_path / "set")
    good, scratched = sorted(labelled_images(folder), key=lambda image: image.path.stem)
    assert (good.path.stem, good.defect, good.marked) == ("1", None, False)
    assert (scratched.path.stem, scratched.defect) == ("2", "scratch")
    found = scratched.marks(HEIGHT, WIDTH)
    assert found is not None
    assert (found == marks()).all()
    (known,) = (image for image in defect_images(folder) if image.defective)
    assert known.types == ("scratch",)
    assert (known.masks(HEIGHT, WIDTH)["scratch"] == marks()).all()
    assert len(good_images(folder)) == 1
    assert not image_folder(folder, labelled=True).left_out


@pytest.mark.parametrize("name", ["labels.csv", "instances.json", "annotations.xml"])
def test_the_file_that_lists_the_images_may_be_named_itself(tmp_path: Path, name: str) -> None:
    write = {"labels.csv": table(","), "instances.json": coco, "annotations.xml": cvat(CVAT_POLYGON)}[name]
    place = write(tmp_path / "set") / name
    assert [image.defect for image in labelled_images(place)] == [None, "scratch"]
    assert len(good_images(place)) == 1


# What systems and programs leave in folders


def test_hidden_and_system_files_are_no_parts_no_types_and_no_pictures(tmp_path: Path) -> None:
    folder = mvtec(tmp_path / "set")
    for name in (".ipynb_checkpoints/1-checkpoint.png", "__MACOSX/._1.png", "@eaDir/thumb.png"):
        picture(folder / "test" / name)
        picture(folder / "train/good" / name)
    for name in ("._2.png", "Thumbs.db", ".DS_Store", "desktop.ini"):
        (folder / "test/scratch" / name).write_bytes(b"\0\5\x16\7")
    assert {image.defect for image in labelled_images(folder)} == {None, "scratch"}
    assert len(labelled_images(folder)) == 2
    assert [path.name for path in good_images(folder)] == ["0.png"]
    assert FolderInputs(folder / "test").total == 2
    assert not image_folder(folder, labelled=True).left_out


def test_inspecting_a_data_set_does_not_inspect_its_masks(tmp_path: Path) -> None:
    inputs = FolderInputs(mvtec(tmp_path / "mvtec"))
    assert (inputs.total, inputs.masks_left_out) == (3, 1)
    assert FolderInputs(folders_with_masks_elsewhere(tmp_path / "elsewhere")).total == 2
    assert FolderInputs(folders_with_masks_beside(tmp_path / "beside")).total == 2
    # A folder of parts that is called so keeps them.
    for number in range(3):
        picture(tmp_path / "parts/labels" / f"{number}.png", number)
    assert FolderInputs(tmp_path / "parts").total == 3


def test_a_link_that_leads_nowhere_is_an_input_that_cannot_be_read(tmp_path: Path) -> None:
    picture(tmp_path / "1.png")
    (tmp_path / "2.png").symlink_to(tmp_path / "gone.png")
    inputs = FolderInputs(tmp_path)
    assert inputs.total == 2
    assert inputs.identity
    assert [path.name for path in images_in(tmp_path)] == ["1.png", "2.png"]


def test_files_that_are_no_pictures_are_counted_and_named(tmp_path: Path) -> None:
    folder = mvtec(tmp_path / "set")
    (folder / "train/good/notes.docx").write_text("remember")
    (folder / "train/good/video.mp4").write_text("moving")
    (note,) = image_folder(folder, labelled=False).left_out
    assert "2 files" in note
    assert "notes.docx, video.mp4" in note


# What cannot be meant


def test_a_misnamed_mask_is_an_error_wherever_labels_are_read(tmp_path: Path) -> None:
    folder = mvtec(tmp_path / "set")
    (folder / "ground_truth/scratch/2_mask.png").rename(folder / "ground_truth/scratch/3_mask.png")
    for read in (labelled_images, defect_images):
        with pytest.raises(DatasetError, match=r"3_mask\.png belongs to no image"):
            read(folder)


def test_a_mask_that_two_images_could_have_is_refused(tmp_path: Path) -> None:
    folder = folders_with_flat_masks(tmp_path / "set")
    picture(folder / "dent/2.png", 3)
    with pytest.raises(DatasetError, match="could be that of"):
        labelled_images(folder)
    other = folders_with_masks_beside(tmp_path / "other")
    mask_file(other / "masks/scratch/2.png")
    with pytest.raises(DatasetError, match="has two masks"):
        labelled_images(other)


def test_a_table_names_all_its_faulty_rows_at_once(tmp_path: Path) -> None:
    picture(tmp_path / "1.png")
    rows = ["path,label", "1.png,good", "1.png,good", "2.png,scratch", "../3.png,scratch", "1.png,"]
    (tmp_path / "labels.csv").write_text("\n".join(rows))
    with pytest.raises(DatasetError) as error:
        labelled_images(tmp_path)
    said = str(error.value)
    assert "4 rows" in said
    for part in ("line 4: there is no file 2.png", "line 5: an image ../3.png lies outside", "has no label", "twice"):
        assert part in said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name,what\n1.png,good", "has no column path and label; its columns are name, what"),
        ("path;label\n", "lists no image"),
        ("path,label,split\n1.png,good,holiday", "split 'holiday', which is neither train nor test"),
    ],
)
def test_a_table_without_its_columns_or_rows_is_refused(tmp_path: Path, text: str, said: str) -> None:
    picture(tmp_path / "1.png")
    (tmp_path / "labels.csv").write_text(text)
    with pytest.raises(DatasetError, match=said):
        labelled_images(tmp_path)


def test_a_split_says_what_is_learnt_from_and_what_is_judged(tmp_path: Path) -> None:
    for number in range(4):
        picture(tmp_path / f"{number}.png", number)
    rows = ["path,label,split", "0.png,good,train", "1.png,0,test", "2.png,dent,test", "3.png,1,train"]
    (tmp_path / "labels.csv").write_text("\n".join(rows))
    assert [path.name for path in good_images(tmp_path)] == ["0.png"]
    assert [(image.path.name, image.defect) for image in labelled_images(tmp_path)] == [
        ("1.png", None), ("2.png", "dent"),
    ]  # fmt: skip


def test_images_that_a_list_leaves_out_are_counted_and_named(tmp_path: Path) -> None:
    folder = coco(tmp_path / "set")
    picture(folder / "images/9.png", 9)
    (note,) = image_folder(folder, labelled=True).left_out
    assert "1 images were left out" in note
    assert "9.png" in note
    (folder / "images/2.png").unlink()
    with pytest.raises(DatasetError, match=r"lists 1 images without a file: 2\.png \(is not there\)"):
        labelled_images(folder)


def test_outlines_of_another_size_than_their_image_are_refused(tmp_path: Path) -> None:
    folder = labelme(tmp_path / "set")
    (image,) = (one for one in labelled_images(folder) if one.defect)
    with pytest.raises(DatasetError, match="were drawn on 50 × 40 pixels, and it has 100 × 80"):
        image.marks(80, 100)


def test_entities_that_grow_without_bound_are_refused_before_they_do(tmp_path: Path) -> None:
    folder = cvat(CVAT_POLYGON)(tmp_path / "set")
    bomb = '<!DOCTYPE a [<!ENTITY b "aaaaaaaaaa"><!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;">]><annotations>&c;</annotations>'
    (folder / "annotations.xml").write_text(bomb)
    with pytest.raises(DatasetError, match="declares a document type"):
        labelled_images(folder)
    (folder / "annotations.xml").write_text("<a>" * 50 + "</a>" * 50)
    with pytest.raises(DatasetError, match="nests its elements deeper"):
        labelled_images(folder)


@pytest.mark.parametrize(
    "shape",
    [
        {"segmentation": {"size": [10**6, 10**6], "counts": [1]}},
        {"segmentation": {"size": [HEIGHT, WIDTH], "counts": [10**9]}},
        {"segmentation": {"size": [HEIGHT, WIDTH], "counts": [-5, 9]}},
        {"segmentation": [["a", "b", "c", "d", "e", "f"]]},
        {"category_id": 8},
    ],
)
def test_damaged_outlines_are_refused_in_a_sentence(tmp_path: Path, shape: dict[str, object]) -> None:
    with pytest.raises(DatasetError):
        labelled_images(coco(tmp_path / "set", shape))


def test_without_a_folder_of_good_parts_a_person_is_told_what_to_do(tmp_path: Path) -> None:
    picture(tmp_path / "a/1.png")
    picture(tmp_path / "b/2.png")
    with pytest.raises(DatasetError, match=r"none of the folders a, b .* call one `good`"):
        labelled_images(tmp_path)
    with pytest.raises(DatasetError, match="has no images"):
        good_images(tmp_path)
    picture(tmp_path / "1.png")
    with pytest.raises(DatasetError, match="has no labels"):
        labelled_images(tmp_path)
    assert [path.name for path in good_images(tmp_path)] == ["1.png"]


def test_an_image_with_two_types_has_the_masks_of_both_and_the_name_of_the_larger(tmp_path: Path) -> None:
    folder = labelme(tmp_path / "set")
    document = json.loads((folder / "2.json").read_text())
    document["shapes"].append({"label": "pit", "shape_type": "circle", "points": [[40, 30], [42, 30]]})
    document["shapes"].append({"label": "pit", "shape_type": "point", "points": [[1, 1]]})
    (folder / "2.json").write_text(json.dumps(document))
    (known,) = (image for image in defect_images(folder) if image.defective)
    assert known.types == ("pit", "scratch")
    masks = known.masks(HEIGHT, WIDTH)
    assert (masks["scratch"] == marks()).all()
    assert 8 <= masks["pit"].sum() <= 24
    (image,) = (one for one in labelled_images(folder) if one.defect)
    assert image == LabelledImage(image.path, "scratch", outlines=image.outlines, outlined_for=(HEIGHT, WIDTH))
    assert any("1 shapes without an area (point)" in note for note in image_folder(folder, labelled=True).left_out)
