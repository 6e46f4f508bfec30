"""The spool: bounded, oldest first, whole or not at all, and still there after a restart."""

import itertools
from datetime import timedelta
from pathlib import Path

import pytest
from camera_line import START, frame_of, verdict_of
from hypothesis import given, settings
from hypothesis import strategies as st

from neverblink.camera.spool import Spool, SpoolError
from neverblink.events import Frame

TRACE = {"traceparent": "00-" + "1" * 32 + "-" + "2" * 16 + "-01"}
_NUMBERS = itertools.count()


def spool_in(folder: Path, *, max_bytes: int = 1_000_000, max_events: int = 1000) -> Spool:
    spool = Spool(folder, max_bytes=max_bytes, max_events=max_events)
    spool.open()
    return spool


def drained(spool: Spool) -> list[str]:
    parts = []
    while (found := spool.oldest()) is not None:
        parts.append(found.event.part)
        spool.remove(found)
    return parts


def at(seq: int) -> Frame:
    return frame_of(seq, at=START + timedelta(seconds=seq))


def test_frames_and_verdicts_come_back_as_they_were_with_their_trace(tmp_path: Path) -> None:
    frame = at(1)
    for event in (frame, verdict_of(frame)):
        spool = spool_in(tmp_path / event.TYPE)
        assert spool.put(event, TRACE) == 0
        found = spool.oldest()
        assert found is not None
        assert found.event == event
        assert found.trace == TRACE


def test_the_oldest_leaves_first_also_after_a_restart(tmp_path: Path) -> None:
    spool = spool_in(tmp_path)
    for seq in range(5):
        spool.put(at(seq), {})
    again = spool_in(tmp_path)
    assert (len(again), again.bytes) == (5, spool.bytes)
    assert drained(again) == [f"line-1/1/{seq}" for seq in range(5)]
    assert list(tmp_path.iterdir()) == []
    assert again.bytes == 0


def test_when_it_is_full_the_oldest_make_room_and_are_counted(tmp_path: Path) -> None:
    spool = spool_in(tmp_path, max_events=3)
    assert [spool.put(at(seq), {}) for seq in range(5)] == [0, 0, 0, 1, 1]
    assert drained(spool) == ["line-1/1/2", "line-1/1/3", "line-1/1/4"]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 4000), min_size=1, max_size=25), st.integers(5_000, 20_000))
def test_the_folder_never_holds_more_bytes_than_it_may(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], bound: int
) -> None:
    folder = tmp_path_factory.mktemp("bounded") / str(next(_NUMBERS))
    spool = spool_in(folder, max_bytes=bound)
    dropped = 0
    for seq, size in enumerate(sizes):
        dropped += spool.put(frame_of(seq, body=b"x" * size, at=START + timedelta(seconds=seq)), {})
        on_disk = sum(path.stat().st_size for path in folder.iterdir())
        assert on_disk == spool.bytes <= bound
    assert dropped + len(spool) == len(sizes)


def test_an_event_larger_than_the_whole_spool_is_refused(tmp_path: Path) -> None:
    spool = spool_in(tmp_path, max_bytes=2000)
    spool.put(at(1), {})
    with pytest.raises(SpoolError, match="more than the whole spool may have, 2000"):
        spool.put(frame_of(2, body=b"x" * 5000), {})
    assert len(spool) == 1


@pytest.mark.parametrize("damage", ["cut", "empty", "changed", "swapped"])
def test_a_damaged_file_is_dropped_with_a_sentence_and_the_next_is_read(tmp_path: Path, damage: str) -> None:
    spool = spool_in(tmp_path)
    spool.put(at(1), {})
    spool.put(at(2), {})
    first, second = sorted(tmp_path.iterdir())
    content = first.read_bytes()
    changed = {
        "cut": content[:-3],
        "empty": b"",
        "changed": content[:-1] + b"?",
        "swapped": content[:64][::-1] + content[64:],
    }
    first.write_bytes(changed[damage])
    spool = spool_in(tmp_path)
    with pytest.raises(SpoolError, match="is damaged and is dropped"):
        spool.oldest()
    assert drained(spool) == ["line-1/1/2"]
    assert not second.exists()


def test_what_was_half_written_when_the_power_went_is_not_read(tmp_path: Path) -> None:
    spool_in(tmp_path).put(at(1), {})
    (whole,) = tmp_path.iterdir()
    (tmp_path / f"{whole.name}.partial").write_bytes(whole.read_bytes()[:50])
    again = spool_in(tmp_path)
    assert len(again) == 1
    assert [path.name for path in tmp_path.iterdir()] == [whole.name]


def test_a_file_that_somebody_tidied_up_is_passed_over(tmp_path: Path) -> None:
    spool = spool_in(tmp_path)
    spool.put(at(1), {})
    spool.put(at(2), {})
    min(tmp_path.iterdir()).unlink()
    assert drained(spool) == ["line-1/1/2"]


def test_a_full_disk_keeps_no_half_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = spool_in(tmp_path)

    def full(self: Path, content: bytes) -> int:
        with self.open("wb") as file:
            file.write(content[:10])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(SpoolError, match="cannot be written: No space left on device"):
        spool.put(at(1), {})
    assert list(tmp_path.iterdir()) == []
    assert len(spool) == 0


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(SpoolError, match=r"the spool folder .*file/spool cannot be used: Not a directory"):
        spool_in(tmp_path / "file" / "spool")
