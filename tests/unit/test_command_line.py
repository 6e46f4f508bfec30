"""The command line as a whole: what it shows, and that mistakes are told before anything heavy is imported."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
import typer

from neverblink.cli import app
from neverblink.cli.application import GROUPS

HEAVY = (
    "torch", "torchvision", "timm", "faiss", "openvino", "faust", "mode", "asyncua", "sqlalchemy", "cv2", "sklearn",
    "scipy", "pyarrow", "aiokafka", "numpy", "fastapi", "uvicorn",
)  # fmt: skip

PROBE = """
import io, contextlib, json, os, sys
from neverblink.cli import main

def ends(words):
    sys.argv = ["neverblink", *words]
    told = io.StringIO()
    with contextlib.redirect_stderr(told), contextlib.redirect_stdout(told):
        try:
            main()
            code = 0
        except SystemExit as end:
            code = end.code
    return code, told.getvalue()

found = []
for words in json.loads(sys.stdin.read()):
    code, told = ends(words)
    found.append([words, code, told, [name for name in HEAVY if name in sys.modules]])
print(json.dumps(found))
"""


def commands(command: Any = None, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield every command that does something, by its words."""
    command = command or typer.main.get_command(app)
    if words and (not hasattr(command, "commands") or command.invoke_without_command):
        yield words, command
    for name, inner in sorted(getattr(command, "commands", {}).items()):
        yield from commands(inner, (*words, name))


def probed(lines: list[list[str]]) -> list[tuple[list[str], int, str, list[str]]]:
    """Run command lines one after another in one fresh interpreter; returns code, text and the heavy modules so far."""
    ran = subprocess.run(
        [sys.executable, "-c", f"HEAVY = {HEAVY!r}\n{PROBE}"],
        input=orjson.dumps(lines).decode(),
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
        env=os.environ | {"COLUMNS": "200"},
    )
    found: list[tuple[list[str], int, str, list[str]]] = orjson.loads(ran.stdout)
    return found


def needed(command: Any, tmp: Path) -> list[str]:
    """Return words that fill what a command cannot do without."""
    words: list[str] = []
    for parameter in command.params:
        if parameter.required:
            option = [] if parameter.param_type_name == "argument" else [parameter.opts[0]]
            words += [*option, str(tmp / "x")]
    return words


def test_help_and_an_unknown_option_of_any_command_import_nothing_heavy() -> None:
    every = [list(words) for words, _ in commands()]
    assert len(every) > 40
    lines = [["--help"], ["--version"]]
    lines += [[*words, "--help"] for words in every] + [[*words, "--no-such-option"] for words in every]
    for words, code, told, heavy in probed(lines):
        assert heavy == [], f"{' '.join(words)} imports {', '.join(heavy)}"
        assert code == (2 if words[-1] == "--no-such-option" else 0), f"{' '.join(words)}: {told}"
        assert words[-1] != "--no-such-option" or "No such option" in told


def test_a_missing_plant_file_is_told_by_any_command_before_anything_heavy_is_imported(tmp_path: Path) -> None:
    more = {
        ("bridge", "nodes"): ["--line", "line-1"],
        ("models", "shadow"): ["--off"],
        ("models", "threshold"): ["--own"],
        ("msa", "new"): ["--product", "pcb"],
        ("inspect",): ["pictures", "--artifact", "model"],
        ("retrain",): ["--champion", "model"],
        ("review", "answer"): ["verdict", "NORMAL"],
    }
    lines = [
        [*words, *needed(command, tmp_path), *more.get(words, []), "--plant", str(tmp_path / "gone.yaml")]
        for words, command in commands()
        if any("--plant" in parameter.opts for parameter in command.params)
    ]
    lines.append(["plant", "check", str(tmp_path / "gone.yaml")])
    assert len(lines) > 20
    for words, code, told, heavy in probed(lines):
        assert heavy == [], f"{' '.join(words)} imports {', '.join(heavy)}"
        assert code == 2
        assert "there is no plant file" in told, f"{' '.join(words)}: {told}"
        assert told.count("\n") == 1


def test_a_mistake_in_a_settings_file_is_told_before_anything_heavy_is_imported(tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_text("such_a_setting: 1\n")
    (tmp_path / "text.yaml").write_text("just a text\n")
    jobs = [words for words, command in commands() if any("--settings" in one.opts for one in command.params)]
    assert len(jobs) == 14
    lines = [[*words, "--settings", str(tmp_path / name)] for words in jobs for name in ("job.yaml", "text.yaml")]
    lines += [[*words, "--settings", str(tmp_path / "gone.yaml")] for words in jobs]
    for words, code, told, heavy in probed(lines):
        assert (code, heavy) == (2, []), f"{' '.join(words)}: {told}"
        assert told.startswith("neverblink: ")
        assert told.count("\n") == 1
        assert words[-1] in told


# What it shows


def shown(*words: str, columns: int = 100) -> str:
    ran = subprocess.run(
        [sys.executable, "-m", "neverblink", *words, "--help"],
        capture_output=True, text=True, timeout=60, check=True, env=os.environ | {"COLUMNS": str(columns)},
    )  # fmt: skip
    return ran.stdout


def test_help_fits_a_screen_and_groups_every_command_by_who_needs_it() -> None:
    said = shown()
    assert len(said.splitlines()) <= 50
    places = [said.index(f" {group} ") for group in GROUPS]
    assert places == sorted(places)
    root: Any = typer.main.get_command(app)
    assert sorted(root.commands) == sorted(name for names in GROUPS.values() for name in names)
    for name in root.commands:
        (line,) = [one for one in said.splitlines() if one.startswith(f"│ {name} ")]
        assert len(line.split()) > 3


@pytest.mark.parametrize(
    ("command", "new", "old"),
    [
        ("fit", "--model", "--backbone"),
        ("fit", "--neighbours", "--eq7"),
        ("fit", "--memory-gib", "--memory"),
        ("fit", "--tiling", "--tile"),
        ("fit", "--tiling", "--overlap"),
        ("retrain", "--memory-gib", "--memory"),
    ],
)
def test_an_old_spelling_is_hidden_and_the_key_is_shown(command: str, new: str, old: str) -> None:
    parameters = {
        word: one for words, found in commands() if words == (command,) for one in found.params for word in one.opts
    }
    assert not getattr(parameters[new], "hidden", False)
    assert parameters[old].hidden
