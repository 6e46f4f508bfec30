"""The evidence store: by digest, whole or not there, and every fault of a disk or a server is a sentence."""

import errno
import hashlib
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest
from kept_evidence import START, KeptEvidence, verdict

from neverblink.brokers.apache import free_port
from neverblink.events import Decision
from neverblink.events.topics import GIB, MIB
from neverblink.ledger.retention import EvidenceStoppedError
from neverblink.plant import PlantError
from neverblink.records.evidence_store import (
    EvidenceDamagedError,
    EvidenceMissingError,
    EvidenceStore,
    EvidenceStoreError,
    EvidenceStoreFullError,
)
from rigs.real_parts import without
from rigs.s3_server import S3Server, S3Unavailable

ABSENT = "a" * 64


@pytest.fixture(scope="module")
def s3() -> Iterator[S3Server]:
    """A server with an empty bucket `plant`."""
    try:
        server = S3Server()
    except S3Unavailable as error:
        without("an S3 server", error)
    before = dict(os.environ)
    os.environ.update(server.surroundings)
    fsspec.filesystem("s3").mkdir("plant")
    yield server
    os.environ.clear()
    os.environ.update(before)
    fsspec.filesystem("s3").clear_instance_cache()
    server.end()


@pytest.fixture(params=["folder", "memory", pytest.param("s3", marks=pytest.mark.plant)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> EvidenceStore:
    """A store of each kind."""
    if request.param == "s3":
        request.getfixturevalue("s3")
    return EvidenceStore(
        {"folder": f"{tmp_path}/evidence", "memory": f"memory://{tmp_path}", "s3": f"s3://plant{tmp_path}"}[
            request.param
        ]
    )


def test_what_is_put_is_found_by_its_digest_listed_and_deleted(store: EvidenceStore) -> None:
    digest = store.put(b"picture")
    assert digest == hashlib.sha256(b"picture").hexdigest() == store.put(b"picture", digest)
    assert (store.get(digest), store.size(digest)) == (b"picture", 7)
    (file,) = store.shelf(digest[:2])
    assert (file.digest, file.bytes) == (digest, 7)
    assert file.changed is not None
    assert abs(file.changed.timestamp() - time.time()) < 60
    store.delete(digest)
    store.delete(digest)
    assert (list(store.shelf(digest[:2])), store.size(digest)) == ([], None)
    with pytest.raises(EvidenceMissingError, match=f"there is no picture {digest}"):
        store.get(digest)


def test_bytes_that_are_not_those_of_the_digest_are_neither_kept_nor_given(store: EvidenceStore) -> None:
    with pytest.raises(EvidenceDamagedError, match=f"and not {ABSENT}: it is not kept"):
        store.put(b"picture", ABSENT)
    digest = store.put(b"picture")
    store._root.write(store._path(digest), b"Picture")
    with pytest.raises(EvidenceDamagedError, match="is damaged: its bytes have another digest"):
        store.get(digest)


@pytest.mark.parametrize("name", ["", "../x", "a/b", "A" * 64, f"{ABSENT}/../x"])
def test_nothing_but_a_digest_finds_a_file(store: EvidenceStore, name: str) -> None:
    for ask in (store.get, store.size, store.delete):
        with pytest.raises(EvidenceStoreError, match="is no SHA-256"):
            ask(name)


def test_a_store_that_no_package_knows_is_refused_with_what_to_install() -> None:
    with pytest.raises(PlantError, match=r"records\.evidence\.store is 'nonsense://x'.*neverblink\[s3\]"):
        EvidenceStore("nonsense://x")


def test_a_full_disk_is_a_sentence_and_leaves_nothing_half(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = EvidenceStore(str(tmp_path / "evidence"))

    def full(self: Path, content: bytes) -> int:
        with self.open("wb") as file:
            file.write(content[:3])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(EvidenceStoreFullError, match=r"the disk of the evidence store .* is full: free some space"):
        store.put(b"picture")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.plant
def test_a_bucket_that_is_not_there_is_told_apart_from_a_picture_that_is_not(s3: S3Server) -> None:
    with pytest.raises(EvidenceMissingError):
        EvidenceStore("s3://plant/here").get(ABSENT)
    nowhere = EvidenceStore("s3://nowhere/here")
    for ask in (lambda: nowhere.put(b"x"), lambda: nowhere.get(ABSENT), lambda: nowhere.size(ABSENT)):
        with pytest.raises(EvidenceStoreError, match=r"there is no bucket nowhere .*: make it, or name another one"):
            ask()


@pytest.mark.plant
def test_a_server_that_stands_still_ends_no_wait_of_ours_and_one_that_is_away_is_a_sentence(
    s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = EvidenceStore("s3://plant/waits")
    store.put(b"before")
    began = time.monotonic()
    s3.freeze()
    try:
        with pytest.raises(EvidenceStoreError, match="cannot be put"):
            store.put(b"meanwhile")
    finally:
        s3.thaw()
    assert time.monotonic() - began < 40, "a call ends after 20 s"
    assert store.get(store.put(b"after")) == b"after"
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    type(store._files).clear_instance_cache()
    began = time.monotonic()
    with pytest.raises(EvidenceStoreError, match="cannot be put: EndpointConnectionError"):
        EvidenceStore("s3://plant/waits").put(b"nobody there")
    assert time.monotonic() - began < 40
    type(store._files).clear_instance_cache()


@pytest.mark.plant
def test_retention_works_on_s3_as_in_a_folder(s3: S3Server, tmp_path: Path) -> None:
    kept = KeptEvidence(tmp_path, store=f"s3://plant{tmp_path}", max_gib=3000 / GIB, passes=1.0)
    kept.record(*(verdict(number) for number in range(3)))
    kept.look(START)
    first = kept.keep(kept.wanted(), START)
    kept.record(verdict(9, Decision.REJECT))
    kept.look(START)
    kept.keep(kept.wanted(), START)
    there = {file.digest for shelf in {one.digest[:2] for one in first} for file in kept.store.shelf(shelf)}
    assert len(there & {one.digest for one in first}) == 2
    assert kept.retention.bytes == kept.book.kept_bytes() == 3000
    kept.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 32 MiB."""
    place = tmp_path / "small"
    place.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=32m", "tmpfs", str(place)], capture_output=True, text=True, check=False
    )
    if made.returncode:
        pytest.skip(f"no small file system can be mounted here: {made.stderr.strip()}")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def test_on_a_disk_that_fills_up_evidence_stops_first_and_records_go_on(small_disk: Path) -> None:
    """The records lie on the same disk, and half of it is theirs."""
    kept = KeptEvidence(small_disk, passes=0, leave_free_gib=16 * MIB / GIB)
    said = None
    for number in range(200):
        kept.record(verdict(number, Decision.REJECT))
        kept.look(START)
        try:
            kept.keep(kept.wanted(), START, bytes_=MIB)
        except EvidenceStoppedError as error:
            said = said or (number, str(error))
        if said and number > said[0] + 20:
            break
    assert said is not None
    assert "of which records.evidence.leave_free_gib leaves" in said[1]
    assert "records go on" in said[1]
    assert len(kept.wanted()) == 22, "what was recorded since is wanted, and was kept by the records"
    assert os.statvfs(small_disk).f_bavail > 0
    assert sum(kept.files.values()) == kept.retention.bytes
    kept.close()


def test_a_disk_that_is_really_full_is_told_and_what_nobody_needs_makes_way(small_disk: Path, tmp_path: Path) -> None:
    kept = KeptEvidence(tmp_path, passes=1.0, store=str(small_disk / "evidence"))
    kept.record(*(verdict(number) for number in range(3)))
    kept.look(START)
    kept.keep(kept.wanted(), START, bytes_=MIB)
    (small_disk / "others").write_bytes(b"." * (os.statvfs(small_disk).f_bavail * 4096 - 8192))
    with pytest.raises(EvidenceStoreFullError, match="is full"):
        kept.store.put(b"x" * MIB)
    assert kept.retention.make_way(MIB, START) == MIB
    kept.store.put(b"x" * (MIB // 2))
    kept.close()
