"""An artifact is what it was when it was made, or it is refused in one sentence and nothing in it runs."""

import json
import pickle
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasketches import kll_floats_sketch
from safetensors.numpy import save

from neverblink.vision.artifact import Artifact, load_artifact, recalibrated, save_artifact
from neverblink.vision.artifact_manifest import (
    MANIFEST,
    TENSORS,
    ArtifactError,
    Description,
    Manifest,
    Provenance,
    Quantised,
    sha256_of,
)
from neverblink.vision.backbone_spec import BackboneSpec
from neverblink.vision.calibration import Calibration

DIGEST = "sha256:" + "0" * 64


def description(**changes: Any) -> Description:
    fields: dict[str, Any] = {
        "name": "pcb",
        "version": "1",
        "product": "pcb",
        "created": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        "backbone": BackboneSpec(
            model="resnet18",
            levels=(2, 3),
            source="file",
            weights=DIGEST,
            mean=(123.675, 116.28, 103.53),
            deviation=(58.395, 57.12, 57.375),
        ),
        "grid": (4, 4),
        "dimension": 3,
        "vectors": 5,
        "neighbours": 2,
        "calibration": Calibration(
            threshold=2.5, map_threshold=1.5, false_reject=0.05, confidence=0.95, normals=4, rank=4
        ),
        "provenance": Provenance(images=(DIGEST,), coreset_ratio=0.01, projection=128, seed=0, folds=5),
    }
    return Description(**(fields | changes))


def tensors() -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    return {
        "bank": random.random((5, 3)).astype(np.float32),
        "neighbours": np.array([[i, (i + 1) % 5] for i in range(5)], np.int32),
        "scores": np.array([1, 2, 2.25, 2.5], np.float32),
        "peaks": np.array([0.5, 1, 1.25, 1.5], np.float32),
    }


def saved(folder: Path) -> Artifact:
    return save_artifact(folder, description(), **tensors())


def sealed(folder: Path, content: bytes, **changes: Any) -> None:
    """Write an artifact as an attacker would: every digest is right, the content is not."""
    folder.mkdir()
    (folder / TENSORS).write_bytes(content)
    manifest = Manifest.model_validate(
        description(**changes).model_dump() | {"tensors": {"sha256": sha256_of(content), "bytes": len(content)}}
    )
    document = {"digest": manifest.digest(), "manifest": manifest.model_dump(mode="json")}
    (folder / MANIFEST).write_text(json.dumps(document))


def test_what_was_saved_is_what_is_loaded(tmp_path: Path) -> None:
    written = saved(tmp_path / "pcb-1")
    read = load_artifact(tmp_path / "pcb-1", digest=written.digest)
    assert read.manifest == written.manifest
    assert (read.name, read.version, read.product, read.threshold) == ("pcb", "1", "pcb", 2.5)
    for name, array in tensors().items():
        np.testing.assert_array_equal(getattr(read, name), array)


def test_the_sketch_of_the_calibration_travels_and_any_reader_of_datasketches_reads_it(tmp_path: Path) -> None:
    sketch = kll_floats_sketch.deserialize(saved(tmp_path / "pcb-1").sketch)
    assert (sketch.n, sketch.get_max_value()) == (4, 1.0)  # scores as a share of the threshold 2.5
    assert sketch.get_quantile(0.25, True) == pytest.approx(0.4)


def test_region_and_int8_network_travel_with_the_bank(tmp_path: Path) -> None:
    region = np.eye(4, dtype=np.bool_)[None]
    graph, weights = np.arange(9, dtype=np.uint8), np.arange(20, dtype=np.uint8)
    made = description(regions=1, engine="openvino-int8", quantised=Quantised(graph_bytes=9, weights_bytes=20))
    save_artifact(tmp_path / "pcb", made, **tensors(), region=region, int8=(graph, weights))
    read = load_artifact(tmp_path / "pcb")
    for found, written in ((read.region, region), (read.graph, graph), (read.weights, weights)):
        np.testing.assert_array_equal(found, written)
    with pytest.raises(ArtifactError, match="region is uint8"):
        save_artifact(tmp_path / "odd", made, **tensors(), region=region[:, :2], int8=(graph, weights))
    with pytest.raises(ArtifactError, match="holds no patch"):
        save_artifact(tmp_path / "odd", made, **tensors(), region=region & False, int8=(graph, weights))


def test_another_calibration_makes_another_artifact_with_the_same_bank(tmp_path: Path) -> None:
    before = saved(tmp_path / "pcb")
    calibration = before.manifest.calibration.model_copy(update={"threshold": 2.25, "rank": 3, "method": "given"})
    after = recalibrated(tmp_path / "pcb", calibration, out=tmp_path / "pcb-2")
    assert after.threshold == 2.25
    assert after.digest != before.digest
    np.testing.assert_array_equal(load_artifact(tmp_path / "pcb-2").bank, before.bank)


def test_identity_is_the_content_and_nothing_else(tmp_path: Path) -> None:
    assert saved(tmp_path / "a").digest == saved(tmp_path / "b").digest
    other = tensors() | {"bank": tensors()["bank"] + 1}
    assert save_artifact(tmp_path / "c", description(), **other).digest != saved(tmp_path / "d").digest
    assert (
        save_artifact(tmp_path / "e", description(version="2"), **tensors()).digest
        != load_artifact(tmp_path / "a").digest
    )


def test_an_artifact_is_not_overwritten_by_accident_and_is_replaced_whole(tmp_path: Path) -> None:
    saved(tmp_path / "pcb")
    with pytest.raises(ArtifactError, match="already exists"):
        saved(tmp_path / "pcb")
    save_artifact(tmp_path / "pcb", description(version="2"), **tensors(), overwrite=True)
    assert load_artifact(tmp_path / "pcb").version == "2"
    assert [path.name for path in tmp_path.iterdir()] == ["pcb"]  # no temporary folder is left


def test_a_failed_write_leaves_the_old_artifact_and_no_rubbish(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved(tmp_path / "pcb")

    def full_disk(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("neverblink.vision.artifact.os.fsync", full_disk)
    with pytest.raises(ArtifactError, match="No space left on device"):
        save_artifact(tmp_path / "pcb", description(version="2"), **tensors(), overwrite=True)
    assert load_artifact(tmp_path / "pcb").version == "1"
    assert [path.name for path in tmp_path.iterdir()] == ["pcb"]


def _edit(change: Callable[[dict[str, Any]], None]) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        document = json.loads((folder / MANIFEST).read_text())
        change(document)
        (folder / MANIFEST).write_text(json.dumps(document))

    return damage


def _raise_threshold(document: dict[str, Any]) -> None:
    document["manifest"]["calibration"]["threshold"] = 99


def _escape(document: dict[str, Any]) -> None:
    document["manifest"]["tensors"]["name"] = "../../etc/passwd"


def _claim_terabytes(document: dict[str, Any]) -> None:
    document["manifest"]["tensors"]["bytes"] = 1 << 45


def _flip_a_byte(folder: Path) -> None:
    content = bytearray((folder / TENSORS).read_bytes())
    content[-3] ^= 1
    (folder / TENSORS).write_bytes(content)


def _cut_off(folder: Path) -> None:
    content = (folder / TENSORS).read_bytes()
    (folder / TENSORS).write_bytes(content[: len(content) // 2])


def _append(folder: Path) -> None:
    with (folder / TENSORS).open("ab") as file:
        file.write(b"more")


def _link(folder: Path) -> None:
    (folder / TENSORS).rename(folder.parent / "elsewhere")
    (folder / TENSORS).symlink_to(folder.parent / "elsewhere")


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (_edit(_raise_threshold), "was altered"),
        (_edit(_escape), "manifest.tensors.name"),
        (_edit(_claim_terabytes), "manifest.tensors.bytes"),
        (_edit(lambda document: document.update(digest=DIGEST)), "was altered"),
        (_edit(lambda document: document["manifest"].update(format="neverblink.patchcore.v9")), "manifest.format"),
        (_edit(lambda document: document["manifest"].update(hook="os.system")), "manifest.hook"),
        (lambda folder: (folder / MANIFEST).write_text("[" * 100_000), "is not a manifest"),
        (lambda folder: (folder / MANIFEST).write_bytes(b"\xff\xfe\x00"), "is not a manifest"),
        (lambda folder: (folder / MANIFEST).unlink(), "cannot be read"),
        (lambda folder: (folder / TENSORS).unlink(), "cannot be read"),
        (_flip_a_byte, "was altered"),
        (_cut_off, "is cut off"),
        (_append, "more than the"),
        (_link, "cannot be read"),
    ],
)
def test_a_changed_artifact_is_refused(tmp_path: Path, damage: Callable[[Path], None], sentence: str) -> None:
    saved(tmp_path / "pcb")
    damage(tmp_path / "pcb")
    with pytest.raises(ArtifactError, match=sentence) as refused:
        load_artifact(tmp_path / "pcb")
    assert "\n" not in str(refused.value)


class _Payload:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> Any:
        return Path.touch, (self.target,)


def test_a_pickle_in_disguise_is_refused_and_never_run(tmp_path: Path) -> None:
    sealed(tmp_path / "evil", pickle.dumps(_Payload(tmp_path / "owned")))
    with pytest.raises(ArtifactError, match="is not a safetensors file"):
        load_artifact(tmp_path / "evil")
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"bank": np.zeros((4, 3), np.float32)}, "the manifest says float32"),
        ({"bank": np.zeros((5, 3), np.float64)}, "the manifest says float32"),
        ({"bank": np.full((5, 3), np.nan, np.float32)}, "not finite"),
        ({"scores": np.zeros(3, np.float32)}, "scores"),
        ({"neighbours": np.full((5, 2), 5, np.int32)}, "points outside the bank"),
        ({"neighbours": np.full((5, 2), -1, np.int32)}, "points outside the bank"),
        ({"extra": np.zeros(1, np.float32)}, "holds the tensors"),
        ({"sketch": np.zeros((2, 2), np.uint8)}, "sketch"),
    ],
)
def test_tensors_that_disagree_with_the_manifest_are_refused(
    tmp_path: Path, changes: dict[str, np.ndarray], sentence: str
) -> None:
    sealed(tmp_path / "odd", save(tensors() | {"sketch": np.zeros(8, np.uint8)} | changes))
    with pytest.raises(ArtifactError, match=sentence):
        load_artifact(tmp_path / "odd")


def test_another_artifact_than_the_one_asked_for_is_refused(tmp_path: Path) -> None:
    saved(tmp_path / "pcb")
    with pytest.raises(ArtifactError, match="another artifact than asked for"):
        load_artifact(tmp_path / "pcb", digest=DIGEST)


def test_a_missing_artifact_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="`neverblink fit` makes one"):
        load_artifact(tmp_path / "nothing")
