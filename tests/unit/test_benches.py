"""Every benchmark can be started: it imports, and says what it measures and what may be given."""

import subprocess
import sys
from pathlib import Path

import orjson
import pytest

ROOT = Path(__file__).parents[2]
PROGRAMS = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for path in (ROOT / "bench").rglob("*.py")
    if "peers" not in path.parts and 'if __name__ == "__main__":' in path.read_text()
)
# One process for all: most of the time goes into importing torch, OpenVINO and Faust once.
ASK_EACH = """
import contextlib, io, json, runpy, sys
said = {}
for name in sys.argv[1:]:
    sys.argv = [name, "--help"]
    out = io.StringIO()
    try:
        with contextlib.redirect_stdout(out):
            runpy.run_module(name, run_name="__main__")
        said[name] = "it ran instead of showing its help"
    except SystemExit as ended:
        said[name] = out.getvalue() if ended.code in (0, None) else f"exit code {ended.code}"
    except BaseException as fault:
        said[name] = f"{type(fault).__name__}: {fault}"
print(json.dumps(said))
"""


@pytest.mark.plant
def test_every_benchmark_shows_its_help() -> None:
    path = [str(ROOT / "services"), str(ROOT / "tests"), str(ROOT)]
    asked = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = {path}\n{ASK_EACH}", *PROGRAMS],
        capture_output=True,
        text=True,
        timeout=150,
        cwd=ROOT,
    )
    assert asked.returncode == 0, asked.stderr[-2000:]
    said: dict[str, str] = orjson.loads(asked.stdout.splitlines()[-1])
    assert {name: text for name, text in said.items() if not text.startswith("usage:")} == {}
    assert len(said) >= 27


def test_the_list_of_benchmarks_names_every_program() -> None:
    listed = (ROOT / "bench/README.md").read_text()
    assert [name for name in PROGRAMS if f"python -m {name}" not in listed] == []
