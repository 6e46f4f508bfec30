"""One root of errors: what descends from it is a sentence for a person, anything else is a bug and looks like one."""

import ast
import builtins
import subprocess
import sys
from pathlib import Path

import pytest

from neverblink.drift.errors import LayoutError
from neverblink.storage.whole_file import UnwritableError, write_whole

PACKAGE = Path(__file__).resolve().parents[2] / "services" / "neverblink"

INTERNAL = {
    "ProtocolError": "the development broker closes the connection of a client that breaks the protocol",
    "OffsetOutOfRange": "the development broker answers a client with this error's code",
    "BatchRefused": "the development broker answers a client with this error's code",
    "TopicRefused": "the development broker answers a client with this error's code and its message",
    "PlacedError": "the reader of the plant file makes it a sentence of PlantError, with the line that it is about",
    "UnpackingError": "a record that cannot be unpacked is read as one that cannot be decoded, with this sentence",
    "_DamagedError": "a damaged record is read as one that cannot be decoded, with this sentence",
    "StreamEndedError": "a camera's reader tells its thread that the stream is over, and the thread opens it anew",
    "WireError": "a network camera's session makes it the sentence of its own refusal, or connects anew",
    "PacketError": "a picture with a packet that is none is left out, and counted as lost",
    "LateError": "the batcher gives up a frame, whose verdict then says late",
    "UnscorableError": "a frame on its way ends with its reason, which its verdict then says",
}
"""Exceptions that no person ever reads: each is caught where it is meant to be, for the reason beside it."""


_CHECKED = "pydantic makes it a fault of a field, which whoever reads the document tells in a sentence"
_CALLER = "only a caller of ours can be wrong here: a bug, which shows its traceback"

BUILT_IN = {
    "bridge/line_session.py": _CALLER,
    "bridge/scheduler.py": _CALLER,
    "brokers/development/faults.py": _CALLER,
    "cli/__init__.py": "Python asks a module so for a name, and tells who wrote it of one that is none",
    "drift/score_sketch.py": _CALLER,
    "events/envelope.py": _CALLER,
    "events/parts.py": _CHECKED,
    "job_life/settings.py": _CHECKED,
    "kafka/following_client.py": "the settings of a connection tell of the password file in a sentence",
    "records/tables.py": _CALLER,
    "plant/section.py": _CHECKED,
    "plc/program_files.py": _CALLER,
    "plc/word.py": _CALLER,
    "scorer/models.py": _CALLER,
    "simulation/parts/surface.py": _CALLER,
    "trainer/datasets/annotation_files.py": "the module catches it itself, and says which file it is about",
    "trainer/datasets/settings.py": _CHECKED,
    "trainer/tuning/settings.py": "a validator's: pydantic makes a sentence of it",
    "trainer/retraining/settings.py": _CHECKED,
    "vision/engines/kept_graphs.py": "the module catches it itself, and tells which file it is about",
    "vision/map_on_demand.py": "dataclasses asks for a default so, and takes it that there is none",
    "vision/plain_name.py": _CHECKED,
}
"""Modules that raise an exception of Python's own, and why no person is ever told by it."""

_NO_SENTENCES = {"AssertionError", "TimeoutError"}
"""What cannot be, and the end of a wait, which whoever waits catches."""


def classes() -> dict[str, tuple[Path, set[str]]]:
    """Return where each class of the package is defined, and the names of its bases."""
    found = {}
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                bases = {base.id for base in node.bases if isinstance(base, ast.Name)}
                bases |= {base.attr for base in node.bases if isinstance(base, ast.Attribute)}
                found[node.name] = path, bases
    return found


def ancestors(name: str, known: dict[str, tuple[Path, set[str]]]) -> set[str]:
    """Return a class's bases, theirs and so on."""
    _, bases = known.get(name, (None, set[str]()))
    return bases.union(*(ancestors(base, known) for base in bases))


def is_exception(name: str) -> bool:
    kind = getattr(builtins, name, None)
    return isinstance(kind, type) and issubclass(kind, BaseException)


def test_every_exception_is_a_sentence_for_a_person_or_says_why_it_never_reaches_one() -> None:
    known = classes()
    errors = {name for name in known if any(map(is_exception, ancestors(name, known)))} - {"NeverblinkError"}
    assert len(errors) > 30, "the search finds the package's exceptions"
    sentences = {name for name in errors if "NeverblinkError" in ancestors(name, known)}
    said = "let it descend from NeverblinkError; list here, with the reason, what no person ever reads"
    assert errors - sentences == INTERNAL.keys(), said


def raises_of_pythons_own(tree: ast.AST) -> bool:
    """Say whether a module raises an exception of Python's own, outside the validators of a pydantic model."""
    for node in ast.iter_child_nodes(tree):
        decorated = node.decorator_list if isinstance(node, ast.FunctionDef) else []
        if any("validator" in ast.unparse(decorator) for decorator in decorated):
            continue
        raised = node.exc if isinstance(node, ast.Raise) else None
        name = raised.func if isinstance(raised, ast.Call) else raised
        own = isinstance(name, ast.Name) and is_exception(name.id) and name.id not in _NO_SENTENCES
        if own or raises_of_pythons_own(node):
            return True
    return False


def test_no_person_is_told_by_an_exception_of_pythons_own() -> None:
    found = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        if raises_of_pythons_own(ast.parse(path.read_text()))
    }
    said = "give what a person may read a class of NeverblinkError; list here, with the reason, what nobody ever reads"
    assert found == BUILT_IN.keys(), said


def run(body: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command of the command line that does `body`, in a process of its own."""
    program = f"""
import sys
from neverblink.cli import app, main

@app.command("fall-over")
def fall_over() -> None:
    {body}

sys.argv = ["neverblink", "fall-over"]
main()
"""
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)


def test_an_error_of_ours_is_one_sentence_and_exit_code_2() -> None:
    done = run("from neverblink.kafka import KafkaError; raise KafkaError('Kafka at kafka-1:9092 is away: start it')")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.strip() == "neverblink: Kafka at kafka-1:9092 is away: start it"


@pytest.mark.parametrize(
    "body", ["raise ValueError('nobody expected this')", "raise RuntimeError('nobody expected this')"]
)
def test_a_bug_keeps_its_traceback_and_exit_code_1(body: str) -> None:
    done = run(body)
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "nobody expected this" in done.stderr
    assert "neverblink: nobody" not in done.stderr


def test_a_missing_package_is_named_with_the_extra_that_brings_it() -> None:
    done = run("raise ModuleNotFoundError('no', name='torch')")
    assert done.returncode == 2
    assert "this command needs the package torch: install neverblink[all]" in done.stderr


def test_a_file_that_cannot_be_written_is_a_sentence_and_still_the_systems_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(
        UnwritableError, match=r"file/below\.json cannot be written: (Not a directory|File exists)"
    ) as told:
        write_whole(tmp_path / "file" / "below.json", b"{}")
    assert isinstance(told.value, OSError)
    assert told.value.strerror
    assert told.value.errno


def test_state_of_a_newer_program_says_what_to_do() -> None:
    said = str(LayoutError("the drift state", 9, 3))
    assert "has layout 9; this program reads 3: run the version that wrote it, or delete the changelog topic" in said
