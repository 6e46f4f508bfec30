"""An artifact may hold a U-Net and a classifier too; they are checked like its memory bank and travel with it."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from neverblink.model_registry.archive import export_artifact, import_artifact
from neverblink.vision.artifact import Artifact, joined, load_artifact, recalibrated
from neverblink.vision.artifact_manifest import MANIFEST, PARTS, ArtifactError, UnetPart
from neverblink.vision.unet_spec import UnetSpec
from tests.unit.test_vision_artifact import DIGEST, saved

NOW = datetime(2026, 2, 3, tzinfo=UTC)
TENSORS = {"network.head.weight": np.arange(6, dtype=np.float32).reshape(1, 6, 1, 1)}
UNET = UnetPart(
    spec=UnetSpec(classes=("scratch",), width=8, depth=2),
    created=NOW,
    images=(DIGEST,),
    epochs=7,
    held_out=3,
    dice={"scratch": 0.8},
)


def with_unet(folder: Path) -> Artifact:
    found = saved(folder / "plain")
    return joined(found, folder / "joined", unet=(UNET, TENSORS), version="2", created=NOW)


def test_a_u_net_joins_a_memory_bank_and_changes_the_identity(tmp_path: Path) -> None:
    before = saved(tmp_path / "before")
    after = with_unet(tmp_path)
    loaded = load_artifact(tmp_path / "joined", digest=after.digest)
    assert after.digest != before.digest
    assert (loaded.version, loaded.manifest.unet, loaded.manifest.classifier) == ("2", UNET, None)
    assert np.array_equal(loaded.parts["unet"]["network.head.weight"], TENSORS["network.head.weight"])
    assert np.array_equal(loaded.bank, before.bank)


def test_an_artifact_without_parts_keeps_the_identity_it_always_had(tmp_path: Path) -> None:
    found = saved(tmp_path / "plain")
    assert found.files == ("manifest.json", "tensors.safetensors")
    assert found.parts == {}


def test_a_new_threshold_leaves_the_u_net_in_place(tmp_path: Path) -> None:
    found = with_unet(tmp_path)
    again = recalibrated(tmp_path / "joined", found.manifest.calibration, out=tmp_path / "again")
    assert again.manifest.unet == UNET
    assert load_artifact(tmp_path / "again").parts["unet"].keys() == TENSORS.keys()


def test_an_exported_artifact_brings_its_u_net_along(tmp_path: Path) -> None:
    found = with_unet(tmp_path)
    export_artifact(tmp_path / "joined", tmp_path / "model.zip")
    imported = import_artifact(tmp_path / "model.zip", tmp_path / "imported", digest=found.digest)
    assert imported.parts["unet"].keys() == TENSORS.keys()


DAMAGE = {
    "cut off": (lambda file: file[:-3], "unet.safetensors is cut off"),
    "altered": (lambda file: file[:-1] + bytes([file[-1] ^ 1]), "unet.safetensors was altered"),
    "too long": (lambda file: file + b"more", "more than the"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_u_net_is_refused_in_one_sentence(tmp_path: Path, damage: str) -> None:
    with_unet(tmp_path)
    file = tmp_path / "joined" / PARTS["unet"]
    change, sentence = DAMAGE[damage]
    file.write_bytes(change(file.read_bytes()))
    with pytest.raises(ArtifactError, match=sentence) as caught:
        load_artifact(tmp_path / "joined")
    assert "\n" not in str(caught.value)


def test_a_missing_u_net_file_is_refused(tmp_path: Path) -> None:
    with_unet(tmp_path)
    (tmp_path / "joined" / PARTS["unet"]).unlink()
    with pytest.raises(ArtifactError, match=r"unet\.safetensors cannot be read"):
        load_artifact(tmp_path / "joined")


def test_a_described_u_net_without_a_file_is_refused(tmp_path: Path) -> None:
    with_unet(tmp_path)
    manifest = tmp_path / "joined" / MANIFEST
    text = manifest.read_text()
    start = text.index('"parts"')
    manifest.write_text(text[:start] + '"parts": {}' + text[text.index("}\n", text.index("}", start) + 1) :])
    with pytest.raises(ArtifactError, match="not a manifest"):
        load_artifact(tmp_path / "joined")


@pytest.mark.parametrize(
    ("values", "sentence"), [(np.zeros(3), "float32"), (np.array([np.nan], np.float32), "not finite")]
)
def test_tensors_that_are_no_finite_floats_are_refused(tmp_path: Path, values: np.ndarray, sentence: str) -> None:
    found = saved(tmp_path / "plain")
    with pytest.raises(ArtifactError, match=sentence):
        joined(found, tmp_path / "joined", unet=(UNET, {"weight": values}), version="2", created=NOW)
    assert not (tmp_path / "joined").exists()
