"""The claim check: what is read is what was put, only from the plant's store, and nothing stays for ever."""

from datetime import timedelta
from pathlib import Path

import fsspec
import pytest
from camera_line import START, frame_of
from hypothesis import given
from hypothesis import strategies as st

from neverblink.events import Reason
from neverblink.plant import PlantError, Storage
from neverblink.storage.frame_objects import ObjectError, ObjectStore


@pytest.fixture(params=["folder", "file-url", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    """A store on disk, named in both ways, and one that is no file system."""
    url = {"folder": f"{tmp_path}/objects", "file-url": f"file://{tmp_path}/objects", "memory": f"memory://{tmp_path}"}
    return ObjectStore(url[request.param])


def test_a_frame_that_was_put_carries_a_reference_and_no_bytes(store: ObjectStore) -> None:
    frame = frame_of(1, body=b"x" * 5000)
    claimed = store.put(frame)
    assert claimed.body == b""
    assert claimed.dataref is not None
    assert claimed.dataref.endswith(f"/2026-01-01T12/line-1/top/{frame.id}.png")
    assert "://" in claimed.dataref
    assert (claimed.size, claimed.sha256, claimed.id) == (5000, frame.sha256, frame.id)
    assert store.get(claimed) == b"x" * 5000


def test_a_frame_may_be_put_twice(store: ObjectStore) -> None:
    frame = frame_of(1)
    assert store.put(frame) == store.put(frame)


def told(store: ObjectStore, **change: object) -> ObjectError:
    claimed = store.put(frame_of(1, body=b"y" * 100))
    with pytest.raises(ObjectError) as caught:
        store.get(claimed.model_copy(update=change), max_bytes=1000)
    return caught.value


def test_an_object_that_is_gone_is_missing(store: ObjectStore, tmp_path: Path) -> None:
    error = told(store, dataref=store.put(frame_of(2)).dataref + ".gone")  # type: ignore[operator]
    assert error.reason is Reason.OBJECT_MISSING
    assert "was it deleted before it was scored?" in str(error)


@pytest.mark.parametrize("change", [{"sha256": "0" * 64}, {"size": 99}, {"size": 101}])
def test_an_object_that_is_not_the_frames_image_is_a_digest_mismatch(
    store: ObjectStore, change: dict[str, object]
) -> None:
    assert told(store, **change).reason is Reason.DIGEST_MISMATCH


def test_an_object_larger_than_the_bound_is_not_read(store: ObjectStore) -> None:
    assert told(store, size=1001).reason is Reason.IMAGE_TOO_LARGE


@pytest.mark.parametrize(
    "elsewhere",
    [
        "file:///etc/passwd",
        "/etc/passwd",
        "http://127.0.0.1/x",
        "s3://other/x",
        "",
        "file://",
        "nonsense://x/y",
        "../x",
    ],
)
def test_an_event_cannot_make_a_scorer_read_elsewhere(store: ObjectStore, elsewhere: str) -> None:
    error = told(store, dataref=elsewhere)
    assert error.reason is Reason.OBJECT_MISSING
    assert "does not lie in the plant's object store" in str(error)


def test_a_path_that_climbs_out_of_the_store_is_not_followed(store: ObjectStore, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"y" * 100)
    inside = store.put(frame_of(1)).dataref
    assert inside is not None
    climbing = inside.rsplit("/", 4)[0] + "/../secret"
    assert "does not lie in the plant's object store" in str(told(store, dataref=climbing))


def test_a_neighbour_whose_name_begins_alike_is_outside(tmp_path: Path) -> None:
    (tmp_path / "objects-of-others").mkdir()
    (tmp_path / "objects-of-others" / "x").write_bytes(b"y" * 100)
    store = ObjectStore(str(tmp_path / "objects"))
    assert "does not lie" in str(told(store, dataref=f"file://{tmp_path}/objects-of-others/x"))


def test_nothing_half_written_has_a_name_in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = ObjectStore(str(tmp_path))

    def full(self: Path, content: bytes) -> int:
        with self.open("wb") as file:
            file.write(content[:10])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(ObjectError, match="No space left on device") as caught:
        store.put(frame_of(1, body=b"z" * 1000))
    assert caught.value.reason is Reason.STORE_AWAY
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_store_that_does_not_answer_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    store = ObjectStore("memory://away")

    def refuse(*args: object, **kwargs: object) -> None:
        raise ConnectionError("no route to the bucket")

    monkeypatch.setattr(type(store._filesystem), "pipe_file", refuse)
    with pytest.raises(ObjectError, match="no route to the bucket") as caught:
        store.put(frame_of(1))
    assert caught.value.reason is Reason.STORE_AWAY


def test_a_store_that_no_package_knows_is_refused_at_the_start() -> None:
    with pytest.raises(PlantError, match=r"storage\.objects is 'nonsense://x', and it cannot be used"):
        ObjectStore("nonsense://x")


def test_a_plant_without_a_store_has_none() -> None:
    assert ObjectStore.of(Storage()) is None


def test_hours_that_are_older_than_the_plant_keeps_them_are_deleted(store: ObjectStore) -> None:
    claimed = [store.put(frame_of(hour, at=START + timedelta(hours=hour))) for hour in range(5)]
    # At 19:15 an image of 13:15 is six hours old, and the hour of 12:30 ended 6:15 ago.
    assert store.sweep(timedelta(hours=6), START + timedelta(hours=6, minutes=45)) == 1
    assert told_missing(store, claimed[0])
    assert store.get(claimed[1]) == b"image 1"
    assert store.sweep(timedelta(hours=6), START + timedelta(days=1)) == 4
    assert store.sweep(timedelta(hours=6), START + timedelta(days=2)) == 0


def told_missing(store: ObjectStore, claimed: object) -> bool:
    with pytest.raises(ObjectError) as caught:
        store.get(claimed)  # type: ignore[arg-type]
    return caught.value.reason is Reason.OBJECT_MISSING


def test_what_is_not_ours_is_not_deleted(tmp_path: Path) -> None:
    (tmp_path / "2020").mkdir()
    (tmp_path / "readme.txt").write_text("keep me")
    (tmp_path / "2020-01-01T05").mkdir()
    assert ObjectStore(str(tmp_path)).sweep(timedelta(hours=6), START) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["2020", "readme.txt"]


def test_a_store_that_is_still_empty_is_swept_without_a_word(tmp_path: Path) -> None:
    assert ObjectStore(str(tmp_path / "none")).sweep(timedelta(hours=6), START) == 0


@given(st.integers(0, 10_000), st.integers(6, 100))
def test_no_image_is_deleted_before_its_time(minutes: int, keep_h: int) -> None:
    fsspec.filesystem("memory").store.clear()
    store = ObjectStore("memory://hours")
    claimed = store.put(frame_of(1))
    keep = timedelta(hours=keep_h)
    store.sweep(keep, START + timedelta(minutes=minutes))
    if timedelta(minutes=minutes) <= keep:
        assert store.get(claimed) == b"image 1"
    elif timedelta(minutes=minutes) > keep + timedelta(hours=1):
        assert told_missing(store, claimed)
