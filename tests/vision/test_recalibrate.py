"""A threshold can be changed without its model, and what that means is said before it is used."""

import zipfile
from pathlib import Path

import numpy as np
import pytest

from neverblink.model_registry.archive import export_artifact, import_artifact
from neverblink.trainer.datasets.images import labelled_images
from neverblink.trainer.fitting.recalibrate import Cost, RecalibrationError, Wish, recalibrate
from neverblink.vision.artifact import load_artifact
from neverblink.vision.artifact_manifest import ArtifactError
from neverblink.vision.calibration import CalibrationError, threshold_by_cost


def test_a_false_reject_target_needs_no_images(model: Path, tmp_path: Path) -> None:
    done = recalibrate(model, tmp_path / "looser", Wish(false_reject=0.2))
    old, new = load_artifact(model), load_artifact(tmp_path / "looser")
    assert (done.before, done.after) == (old.manifest.calibration, new.manifest.calibration)
    assert new.threshold == old.scores[done.after.rank - 1] < old.threshold
    assert done.after.statement().startswith("at most 20 % of good parts")
    np.testing.assert_array_equal(new.bank, old.bank)
    assert new.digest != old.digest
    assert done.labelled is None


def test_a_promise_beyond_the_held_out_images_is_refused_and_nothing_is_written(model: Path, tmp_path: Path) -> None:
    with pytest.raises(CalibrationError, match="299 are needed"):
        recalibrate(model, tmp_path / "new", Wish(false_reject=0.01))
    assert not (tmp_path / "new").exists()


def test_a_threshold_by_cost_is_the_cheapest_on_the_labelled_images(model: Path, images: Path, tmp_path: Path) -> None:
    labelled = labelled_images(images)
    done = recalibrate(model, tmp_path / "cost", Wish(cost=Cost(1, 50)), images=labelled)
    assert done.labelled is not None
    assert (done.labelled.good, done.labelled.defective) == (6, 6)
    assert done.after.method == "cost"
    # Plates are told apart perfectly: some threshold costs nothing, and it was found.
    assert (done.labelled.false_rejects[1], done.labelled.missed[1]) == (0, 0)
    kept = recalibrate(model, tmp_path / "kept", Wish(threshold=done.before.threshold), images=labelled)
    assert kept.labelled is not None
    assert kept.labelled.good_changed == kept.labelled.defective_changed == 0
    assert kept.labelled.missed[0] == done.labelled.missed[0]


def test_images_that_change_side_are_counted(model: Path, images: Path, tmp_path: Path) -> None:
    done = recalibrate(model, tmp_path / "high", Wish(threshold=1e6), images=labelled_images(images))
    assert done.labelled is not None
    assert done.labelled.missed == (0, 6)
    assert done.labelled.defective_changed == 6
    assert done.labelled.good_changed == done.labelled.false_rejects[0]


def test_an_unsure_band_alone_leaves_the_threshold(model: Path, tmp_path: Path) -> None:
    done = recalibrate(model, tmp_path / "unsure", Wish(unsure=0.5))
    assert done.after.threshold == done.before.threshold
    assert done.after.unsure_from is not None
    assert done.after.unsure_from < done.after.threshold
    given = recalibrate(model, tmp_path / "given", Wish(threshold=done.after.threshold * 0.999))
    again = recalibrate(tmp_path / "given", tmp_path / "again", Wish(unsure=0.5))
    assert (again.after.threshold, again.after.method) == (given.after.threshold, "given")


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        (Wish(), "say what shall change"),
        (Wish(false_reject=0.1, threshold=3), "name one of them"),
        (Wish(cost=Cost(1, 50)), "needs labelled images"),
        (Wish(threshold=float("nan")), "a threshold is a number above zero, not nan"),
        (Wish(threshold=1e-6), "rejects all 30 held-out good images"),
    ],
)
def test_a_wish_that_cannot_be_followed_is_explained(model: Path, tmp_path: Path, wish: Wish, said: str) -> None:
    with pytest.raises((RecalibrationError, CalibrationError), match=said):
        recalibrate(model, tmp_path / "new", wish)
    assert not (tmp_path / "new").exists()


def test_another_model_is_not_written_over(model: Path) -> None:
    before = load_artifact(model).digest
    with pytest.raises(RecalibrationError, match="already exists"):
        recalibrate(model, model, Wish(false_reject=0.2))
    assert load_artifact(model).digest == before


@pytest.mark.parametrize("text", ["1", "1:2:3", "one:fifty", "-1:5", "nan:1", "0:0", "1:inf", ""])
def test_costs_that_are_not_two_numbers_are_refused(text: str) -> None:
    with pytest.raises(RecalibrationError, match="costs are two numbers"):
        Cost.parse(text)
    assert Cost.parse("1:50") == (1, 50)


def test_the_cost_is_read_in_the_order_in_which_it_is_written() -> None:
    good, bad = np.array([1.0, 3.0]), np.array([2.0, 4.0])
    careful, bold = (Cost.parse(text) for text in ("1:50", "50:1"))
    at_careful, at_bold = (
        threshold_by_cost(good, bad, false_reject_cost=cost.false_reject, miss_cost=cost.miss)
        for cost in (careful, bold)
    )
    assert (at_careful.missed, at_bold.false_rejects) == (0, 0)


# As one file


def test_the_same_model_exports_to_the_same_bytes_and_comes_back_the_same(model: Path, tmp_path: Path) -> None:
    artifact = export_artifact(model, tmp_path / "one.zip")
    export_artifact(model, tmp_path / "new/two.zip")
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "new/two.zip").read_bytes()
    back = import_artifact(tmp_path / "one.zip", tmp_path / "back", digest=artifact.digest)
    assert back.digest == load_artifact(tmp_path / "back").digest == artifact.digest
    assert sorted(path.name for path in tmp_path.iterdir()) == ["back", "new", "one.zip"]


def rezipped(
    source: Path, target: Path, change: dict[str, bytes | None], compression: int = zipfile.ZIP_STORED
) -> Path:
    """Copy a zip with other contents: None leaves an entry out, a new name adds one."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", compression) as new:
        contents = {name: old.read(name) for name in old.namelist()} | change
        for name, content in contents.items():
            if content is not None:
                new.writestr(name, content)
    return target


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"plate-1/tensors.safetensors": b"other"}, "is cut off"),
        ({"plate-1/tensors.safetensors": None}, "nothing else"),
        ({"../../etc/evil": b"x"}, "nothing else"),
        ({"/tmp/manifest.json": b"{}"}, "nothing else"),
        ({"plate-1/manifest.json": b"{}"}, "is not a manifest"),
    ],
)
def test_an_archive_that_is_not_whole_is_refused_and_leaves_nothing(
    model: Path, tmp_path: Path, change: dict[str, bytes | None], said: str
) -> None:
    export_artifact(model, tmp_path / "whole.zip")
    path = rezipped(tmp_path / "whole.zip", tmp_path / "other.zip", change)
    with pytest.raises(ArtifactError, match=said) as refused:
        import_artifact(path, tmp_path / "place/back")
    assert "other.zip" in str(refused.value)
    assert list((tmp_path / "place").iterdir()) == []


def test_names_in_an_archive_do_not_say_where_it_goes(model: Path, tmp_path: Path) -> None:
    export_artifact(model, tmp_path / "whole.zip")
    with zipfile.ZipFile(tmp_path / "whole.zip") as archive:
        contents = {Path(name).name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(tmp_path / "climbing.zip", "w") as archive:
        for name, content in contents.items():
            archive.writestr(f"../../{name}", content)
    import_artifact(tmp_path / "climbing.zip", tmp_path / "place/deep/back")
    assert sorted(path.name for path in (tmp_path / "place/deep").iterdir()) == ["back"]
    assert [path.name for path in (tmp_path / "place").iterdir()] == ["deep"]


def test_compressed_damaged_and_other_archives_are_refused(model: Path, tmp_path: Path) -> None:
    artifact = export_artifact(model, tmp_path / "whole.zip")
    packed = rezipped(tmp_path / "whole.zip", tmp_path / "packed.zip", {}, zipfile.ZIP_DEFLATED)
    with pytest.raises(ArtifactError, match="is compressed or larger"):
        import_artifact(packed, tmp_path / "back")
    (tmp_path / "text.zip").write_text("a zip file by name")
    with pytest.raises(ArtifactError, match="not a readable zip"):
        import_artifact(tmp_path / "text.zip", tmp_path / "back")
    with pytest.raises(ArtifactError, match="cannot be imported"):
        import_artifact(tmp_path / "gone.zip", tmp_path / "back")
    with pytest.raises(ArtifactError, match="another artifact than asked for"):
        import_artifact(tmp_path / "whole.zip", tmp_path / "back", digest=artifact.digest[:-4] + "0000")
    with pytest.raises(ArtifactError, match="already exists"):
        import_artifact(tmp_path / "whole.zip", model)
    assert not (tmp_path / "back").exists()
