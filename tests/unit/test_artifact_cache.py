"""Fetched artifacts: what is loaded is what its digest says, from the plant's two places only, in a bounded folder."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import fsspec
import pytest
from small_artifacts import write_artifact

from neverblink.model_registry.artifact_store import ArtifactStore, folder_name
from neverblink.plant import PlantError, Storage
from neverblink.scorer.artifact_cache import ArtifactCache
from neverblink.vision.artifact import load_artifact
from neverblink.vision.artifact_manifest import MANIFEST, TENSORS, ArtifactError

OTHER = "sha256:" + "1" * 64


@pytest.fixture
def artifacts(tmp_path: Path) -> Path:
    return tmp_path / "artifacts"


@pytest.fixture(params=["folder", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path, artifacts: Path) -> ArtifactStore:
    """The plant's artifacts, and a store beside them: on disk, and one that is no file system."""
    url = {"folder": f"{tmp_path}/store", "memory": f"memory://{uuid4().hex}"}[request.param]
    return ArtifactStore(Storage(artifacts=artifacts, artifact_store=url))


@pytest.fixture
def cache(tmp_path: Path, store: ArtifactStore) -> ArtifactCache:
    return ArtifactCache(tmp_path / "cache", 1024 * 1024, store)


def entries(tmp_path: Path) -> set[str]:
    return {path.name for path in (tmp_path / "cache").iterdir()}


def test_an_artifact_is_fetched_once_and_then_had_without_its_source(
    cache: ArtifactCache, artifacts: Path, tmp_path: Path
) -> None:
    artifact = write_artifact(artifacts)
    assert cache.load("pcb", artifact.digest).digest == artifact.digest
    for file in (artifacts / "pcb").iterdir():
        file.unlink()
    again = cache.load("pcb", artifact.digest)
    assert (again.bank == artifact.bank).all()
    assert entries(tmp_path) == {folder_name(artifact.digest)}


def test_an_artifact_comes_back_from_the_store_by_the_location_that_it_got_there(
    cache: ArtifactCache, store: ArtifactStore, tmp_path: Path
) -> None:
    artifact = write_artifact(tmp_path / "elsewhere")
    assert store.location_of(tmp_path / "elsewhere" / "pcb") is None
    location = store.put(tmp_path / "elsewhere" / "pcb", artifact)
    assert location == store.put(tmp_path / "elsewhere" / "pcb", artifact)
    assert location.endswith(folder_name(artifact.digest))
    assert cache.load(location, artifact.digest).digest == artifact.digest


def test_an_artifact_under_the_plants_artifacts_is_known_by_its_relative_place(
    store: ArtifactStore, artifacts: Path
) -> None:
    write_artifact(artifacts / "pcb-line")
    assert store.location_of(artifacts / "pcb-line" / "pcb") == "pcb-line/pcb"


def test_without_a_store_an_artifact_that_lies_elsewhere_cannot_be_named(tmp_path: Path) -> None:
    artifact = write_artifact(tmp_path / "elsewhere")
    store = ArtifactStore(Storage(artifacts=tmp_path / "artifacts"))
    with pytest.raises(ArtifactError, match=r"does not lie under storage\.artifacts .* has no storage\.artifact_store"):
        store.put(tmp_path / "elsewhere" / "pcb", artifact)


def truncated(folder: Path) -> None:
    file = folder / TENSORS
    file.write_bytes(file.read_bytes()[:-7])


def flipped(folder: Path) -> None:
    file = folder / TENSORS
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)


def grown(folder: Path) -> None:
    file = folder / TENSORS
    file.write_bytes(file.read_bytes() + b"more")


def without_tensors(folder: Path) -> None:
    (folder / TENSORS).unlink()


def without_manifest(folder: Path) -> None:
    (folder / MANIFEST).unlink()


def with_a_pipe(folder: Path) -> None:
    (folder / TENSORS).unlink()
    os.mkfifo(folder / TENSORS)


def with_a_long_manifest(folder: Path) -> None:
    os.truncate(folder / MANIFEST, 64 * 1024 * 1024)


DAMAGES = {
    truncated: "cut off",
    flipped: "was altered",
    grown: "another file than expected",
    without_tensors: "tensors.safetensors is missing",
    without_manifest: "manifest.json is missing",
    with_a_pipe: "no regular file",
    with_a_long_manifest: "another file than expected",
}


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_a_damaged_source_is_refused_and_leaves_nothing_behind(
    cache: ArtifactCache, artifacts: Path, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    artifact = write_artifact(artifacts)
    damage(artifacts / "pcb")
    with pytest.raises(ArtifactError, match=DAMAGES[damage]):
        cache.load("pcb", artifact.digest)
    assert entries(tmp_path) == set()


def test_another_artifact_than_asked_for_is_refused(cache: ArtifactCache, artifacts: Path, tmp_path: Path) -> None:
    write_artifact(artifacts)
    with pytest.raises(ArtifactError, match="another artifact than asked for"):
        cache.load("pcb", OTHER)
    assert entries(tmp_path) == set()


@pytest.mark.parametrize("damage", [truncated, flipped, without_tensors, without_manifest])
def test_a_damaged_entry_is_fetched_again(
    cache: ArtifactCache, artifacts: Path, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    artifact = write_artifact(artifacts)
    cache.load("pcb", artifact.digest)
    damage(tmp_path / "cache" / folder_name(artifact.digest))
    assert (cache.load("pcb", artifact.digest).bank == artifact.bank).all()
    assert load_artifact(tmp_path / "cache" / folder_name(artifact.digest)).digest == artifact.digest
    assert entries(tmp_path) == {folder_name(artifact.digest)}


@pytest.mark.parametrize(
    "location",
    [
        "../elsewhere/pcb",
        "pcb/../../elsewhere/pcb",
        "/etc",
        "",
        ".",
        "/",
        "file:///etc",
        "http://127.0.0.1/pcb",
        "s3://other/pcb",
        "memory://other/pcb",
        "nonsense://x/pcb",
        "link/pcb",
        "~/pcb",
        "pcb\x00",
        "..\\elsewhere\\pcb",
    ],
)
def test_an_event_cannot_make_a_scorer_read_elsewhere(
    cache: ArtifactCache, artifacts: Path, tmp_path: Path, location: str
) -> None:
    artifact = write_artifact(tmp_path / "elsewhere")
    artifacts.mkdir()
    (artifacts / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ArtifactError):
        cache.load(location, artifact.digest)
    assert entries(tmp_path) == set()


def test_the_longest_unused_entries_are_deleted_when_the_cache_is_full(store: ArtifactStore, tmp_path: Path) -> None:
    found = [write_artifact(tmp_path / "artifacts", f"pcb-{seed}", seed=seed) for seed in range(4)]
    first, second, third, fourth = (artifact.digest for artifact in found)
    size = sum(file.stat().st_size for file in (tmp_path / "artifacts" / "pcb-0").iterdir())
    cache = ArtifactCache(tmp_path / "cache", int(2.5 * size), store)
    for seed, digest in enumerate((first, second)):
        cache.load(f"pcb-{seed}", digest)
        os.utime(tmp_path / "cache" / folder_name(digest), (seed, seed))
    cache.load("pcb-2", third, keep={first})
    assert entries(tmp_path) == {folder_name(first), folder_name(third)}
    cache.load("pcb-3", fourth)
    assert entries(tmp_path) == {folder_name(third), folder_name(fourth)}


def test_an_artifact_larger_than_the_cache_is_refused(store: ArtifactStore, tmp_path: Path) -> None:
    artifact = write_artifact(tmp_path / "artifacts", vectors=1000)
    cache = ArtifactCache(tmp_path / "cache", 10_000, store)
    with pytest.raises(ArtifactError, match=r"storage\.model_cache_mib allows 10000"):
        cache.load("pcb", artifact.digest)


def test_what_a_killed_scorer_had_begun_is_swept_up_when_it_is_old(
    cache: ArtifactCache, artifacts: Path, tmp_path: Path
) -> None:
    for name, age_s in (("old", 7200), ("young", 60)):
        (tmp_path / "cache" / f".partial-{name}" / "artifact").mkdir(parents=True)
        then = time.time() - age_s
        os.utime(tmp_path / "cache" / f".partial-{name}", (then, then))
    artifact = write_artifact(artifacts)
    cache.load("pcb", artifact.digest)
    assert entries(tmp_path) == {".partial-young", folder_name(artifact.digest)}


def test_a_cache_folder_that_cannot_be_written_is_told_by_its_setting(
    store: ArtifactStore, artifacts: Path, tmp_path: Path
) -> None:
    artifact = write_artifact(artifacts)
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(ArtifactError, match=r"cannot be kept in storage\.model_cache"):
        ArtifactCache(tmp_path / "file" / "cache", 10**9, store).load("pcb", artifact.digest)


def test_a_store_that_no_package_knows_is_told_at_the_start(artifacts: Path) -> None:
    with pytest.raises(PlantError, match=r"storage\.artifact_store is 'nonsense://x', and it cannot be used"):
        ArtifactStore(Storage(artifacts=artifacts, artifact_store="nonsense://x"))


def test_a_store_that_is_away_is_told_in_a_sentence(
    cache: ArtifactCache, store: ArtifactStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifact = write_artifact(tmp_path / "elsewhere")
    location = store.put(tmp_path / "elsewhere" / "pcb", artifact)

    def away(*_: object, **__: object) -> None:
        raise ConnectionError("connection refused")

    for kind in ("file", "memory"):
        monkeypatch.setattr(type(fsspec.filesystem(kind)), "info", away)
    with pytest.raises(ArtifactError, match="cannot be read: ConnectionError: connection refused"):
        cache.load(location, artifact.digest)
