"""What a plant knows of its models: which artifacts lie where scorers look, and what was changed when."""

from pathlib import Path

import numpy as np
import pytest
from small_artifacts import write_artifact

from neverblink.model_registry.artifact_store import ArtifactStore
from neverblink.model_registry.known_artifacts import KnownArtifacts
from neverblink.plant import Storage
from neverblink.vision.artifact_manifest import MANIFEST, TENSORS, ArtifactError
from neverblink.vision.calibration import calibrate_at, promised_at


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage(artifacts=tmp_path / "artifacts", artifact_store=str(tmp_path / "store"))


def test_every_artifact_is_listed_once_with_where_scorers_find_it(storage: Storage) -> None:
    first = write_artifact(storage.artifacts, "pcb-3", seed=3)
    deeper = write_artifact(storage.artifacts / "discs", "disc-1", product="disc", seed=4)
    store = ArtifactStore(storage)
    location = store.put(storage.artifacts / "pcb-3", first)
    listed = KnownArtifacts(storage).listed()
    assert {one.location: one.digest for one in listed.found} == {"pcb-3": first.digest, "discs/disc-1": deeper.digest}
    assert listed.of(first.digest) is not None
    assert listed.of("sha256:" + "9" * 64) is None
    (storage.artifacts / "pcb-3").rename(storage.artifacts.parent / "gone")
    assert location in {one.location for one in KnownArtifacts(storage).listed().found}


def test_an_artifact_that_cannot_be_read_is_told_and_hides_no_other(storage: Storage) -> None:
    write_artifact(storage.artifacts, "pcb-3")
    sound = write_artifact(storage.artifacts, "pcb-4", seed=4)
    (storage.artifacts / "pcb-3" / MANIFEST).write_text("{}")
    (storage.artifacts / "notes").mkdir()
    listed = KnownArtifacts(storage).listed()
    assert [one.digest for one in listed.found] == [sound.digest]
    assert len(listed.faults) == 1
    assert "pcb-3" in listed.faults[0]


def test_a_manifest_that_was_written_anew_is_read_anew_and_no_other(storage: Storage) -> None:
    write_artifact(storage.artifacts, "pcb-3")
    write_artifact(storage.artifacts, "pcb-4", seed=4)
    known = KnownArtifacts(storage)
    before = known.listed()
    again = known.listed()
    assert all(one is other for one, other in zip(before.found, again.found, strict=True))
    other = write_artifact(storage.artifacts, "pcb-5", seed=5)
    (storage.artifacts / "pcb-5" / MANIFEST).replace(storage.artifacts / "pcb-4" / MANIFEST)
    assert other.digest in {one.digest for one in known.listed().found}


def test_held_out_scores_are_read_without_the_bank_and_a_damaged_file_is_a_sentence(storage: Storage) -> None:
    artifact = write_artifact(storage.artifacts, "pcb-3", vectors=4096)
    store = ArtifactStore(storage)
    assert np.array_equal(store.held_out_scores("pcb-3"), np.sort(artifact.scores))
    path = storage.artifacts / "pcb-3" / TENSORS
    for content in (b"", b"\xff" * 64, b"\x02\0\0\0\0\0\0\0{}", path.read_bytes()[:500]):
        path.write_bytes(content)
        with pytest.raises(ArtifactError, match=r"holds no scores of held-out images|cannot be read"):
            store.held_out_scores("pcb-3")
    with pytest.raises(ArtifactError, match=r"fetched from nowhere else|there is no artifact"):
        store.held_out_scores("../../etc")


def test_what_a_threshold_promises_is_what_calibrating_at_it_promises() -> None:
    scores = np.random.default_rng(1).lognormal(0, 0.2, 300)
    for threshold in np.quantile(scores, (0.2, 0.9, 1.0)):
        same = calibrate_at(float(threshold), scores, scores, method="given").false_reject
        assert promised_at(float(threshold), scores) == same
    assert promised_at(0.01, scores) is None
    assert promised_at(99.0, scores) == pytest.approx(1 - 0.05 ** (1 / 300))
