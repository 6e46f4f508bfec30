"""A file is there whole or not at all: whatever fails, whoever else writes, whenever the process is killed."""

import ast
import os
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neverblink.storage import whole_file as module
from neverblink.storage.whole_file import PARTIAL, remove_partial, whole_file, write_whole, write_whole_folder

FAULTS = (None, "full disk", "disk that cannot force", "name that cannot be given", "writer that gives up")


def write_with(fault: str | None, path: Path, content: bytes) -> None:
    """Write, and let one step fail."""
    with pytest.MonkeyPatch.context() as patch:

        def fail(*_: object) -> None:
            raise OSError(28, "No space left on device")

        if fault == "disk that cannot force":
            patch.setattr(module, "_force", fail)
        if fault == "name that cannot be given":
            patch.setattr(Path, "replace", fail)
        with whole_file(path) as partial:
            partial.write_bytes(content[: len(content) // 2])
            if fault == "full disk":
                fail()
            if fault == "writer that gives up":
                raise KeyboardInterrupt
            partial.write_bytes(content)


@given(st.lists(st.tuples(st.sampled_from(FAULTS), st.binary(max_size=40)), max_size=8))
def test_a_file_has_always_what_was_last_written_whole(steps: list[tuple[str | None, bytes]]) -> None:
    with TemporaryDirectory() as folder:
        path, kept = Path(folder) / "below" / "file", None
        for fault, content in steps:
            if fault is None:
                write_with(fault, path, content)
                kept = content
            else:
                with pytest.raises((OSError, KeyboardInterrupt)):
                    write_with(fault, path, content)
            assert (path.read_bytes() if path.exists() else None) == kept
            assert set(path.parent.iterdir()) <= {path}, "nothing is left beside it"


@pytest.mark.parametrize("killed", ["while it writes", "before it forces", "before the name is given"])
def test_a_writer_that_is_killed_leaves_the_old_file(tmp_path: Path, killed: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    program = f"""
import os, signal
from pathlib import Path
from neverblink.storage import whole_file as module
def end(*_): os.kill(os.getpid(), signal.SIGKILL)
if {killed!r} == "before it forces": module._force = end
if {killed!r} == "before the name is given": Path.replace = end
with module.whole_file(Path({str(path)!r})) as partial:
    partial.write_bytes(b"new")
    if {killed!r} == "while it writes": end()
"""
    ended = subprocess.run([sys.executable, "-c", program], timeout=30)
    assert ended.returncode == -signal.SIGKILL
    assert path.read_bytes() == b"old"
    left = [found for found in tmp_path.iterdir() if found != path]
    assert [found.suffix for found in left] == [PARTIAL]
    remove_partial(tmp_path)
    assert list(tmp_path.iterdir()) == [path]


def test_writers_at_once_never_mix(tmp_path: Path) -> None:
    path = tmp_path / "file"
    contents = [bytes([number]) * 100_000 for number in range(4)]
    write_whole(path, contents[0], forced=False)
    going = threading.Event()

    def write(content: bytes) -> None:
        going.wait()
        for _ in range(50):
            write_whole(path, content, forced=False)

    writers = [threading.Thread(target=write, args=(content,)) for content in contents]
    for writer in writers:
        writer.start()
    going.set()
    seen = set()
    while any(writer.is_alive() for writer in writers):
        seen.add(path.read_bytes())
    assert seen <= set(contents)
    assert list(tmp_path.iterdir()) == [path]


def test_the_content_is_on_the_disk_before_the_name_and_the_name_before_it_returns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def forced(descriptor: int) -> None:
        steps.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        fsync(descriptor)

    def named(self: Path, target: Path) -> Path:
        steps.append("name")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", forced)
    monkeypatch.setattr(Path, "replace", named)
    write_whole(tmp_path / "file", b"content")
    assert steps == ["file", "name", "folder"]


def test_a_secret_is_readable_by_its_owner_alone_from_the_first_byte_on(tmp_path: Path) -> None:
    with whole_file(tmp_path / "secret", mode=0o600) as partial:
        assert stat.S_IMODE(partial.stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "secret").stat().st_mode) == 0o600


def test_a_folder_is_replaced_whole_and_stays_when_its_replacement_cannot_be_written(tmp_path: Path) -> None:
    folder = tmp_path / "artifact"
    write_whole_folder(folder, {"a": b"1", "b": b"2"})
    with pytest.raises(OSError, match="name"):
        write_whole_folder(folder, {"a": b"3", "n" * 300: b"its name is too long"})
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == {"a": b"1", "b": b"2"}
    write_whole_folder(folder, {"c": b"4"})
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == {"c": b"4"}
    assert list(tmp_path.iterdir()) == [folder]


def test_a_name_as_long_as_a_file_system_allows_is_written(tmp_path: Path) -> None:
    write_whole(tmp_path / ("ü" * 127), b"content")
    assert (tmp_path / ("ü" * 127)).read_bytes() == b"content"


def test_the_module_that_vision_imports_too_knows_the_standard_library_alone() -> None:
    tree = ast.parse(Path(module.__file__).read_text())
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)} | {
        name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names
    }
    # `neverblink.errors` is the root of all sentences, which every room may import; it imports nothing.
    assert {str(name).split(".")[0] for name in imported - {"neverblink.errors"}} <= sys.stdlib_module_names
