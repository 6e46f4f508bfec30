"""Who may import whom: DESIGN's walls, read from the source, and what each service loads when it starts."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "services" / "neverblink"

SERVICES = ("camera", "scorer", "bridge", "drift", "ledger", "console")
OPEN_TO_SERVICES = {"events", "kafka", "plant", "telemetry", "service_life", "plc"}

# Room to the rooms it may import besides itself. `cli`, `__main__` and `demo` may import everything.
MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "shown": set(),
    "vision": set(),
    "events": set(),
    "telemetry": set(),
    "service_life": {"telemetry"},
    "job_life": set(),
    "confidence": set(),
    "plant": {"events"},
    "storage": {"events", "plant"},
    "kafka": {"events", "plant", "telemetry", "service_life"},
    "plc": {"events", "plant", "service_life", "storage"},
    "decisions": {"events", "plant", "vision"},
    "model_registry": {"events", "kafka", "plant", "storage", "vision", "service_life"},
    "records": {"confidence", "events", "plant", "storage"},
    "reports": {"confidence", "records", "storage", "vision"},
    "reviewing": {"events", "kafka", "plant", "records"},
    "http_serving": {"plant", "service_life"},
    "alarms": {"plant", "service_life", "telemetry"},
    "challenges": {"events", "kafka", "plant", "storage"},
    "surroundings": {"plant", "plc", "service_life"},
    "simulation": {"events", "plant", "plc", "service_life"},
    "brokers": {"telemetry", "service_life"},
    **dict.fromkeys(SERVICES, OPEN_TO_SERVICES),
}
JUDGING = {"decisions", "model_registry", "storage", "vision"}
MAY_IMPORT["camera"] = OPEN_TO_SERVICES | {"simulation", "storage"}
MAY_IMPORT["drift"] = OPEN_TO_SERVICES | {"alarms"}
MAY_IMPORT["ledger"] = OPEN_TO_SERVICES | {"alarms", "http_serving", "records", "storage"}
MAY_IMPORT["console"] = (OPEN_TO_SERVICES - {"plc"}) | {
    "alarms", "confidence", "decisions", "http_serving", "job_life", "model_registry", "records", "reports",
    "reviewing", "storage",
}  # fmt: skip
MAY_IMPORT["scorer"] = OPEN_TO_SERVICES | JUDGING
MAY_IMPORT["qualification"] = {"events", "plant", "job_life", "reports"} | JUDGING
MAY_IMPORT["trainer"] = OPEN_TO_SERVICES | JUDGING | {"confidence", "job_life", "qualification", "records", "reports"}
MAY_IMPORT["agreement"] = {
    "confidence", "decisions", "events", "job_life", "plant", "records", "reports", "storage", "vision",
}  # fmt: skip
EVERYTHING = {"demo", "cli", "__main__", "__init__"}
# `errors` holds one class, the root of all sentences, and `shown` what may be shown of others' texts; both import
# nothing, and every room may import them.

# The one door in a wall: modules of another room that a room may import.
# None knows torch: the image that is judged is decoded and measured by the code that scores it.
DOORS = {
    "camera": {"neverblink.vision.quality", "neverblink.vision.decode"},
    "console": {
        "neverblink.vision.alignment.spec",
        "neverblink.vision.artifact_manifest",
        "neverblink.vision.calibration",
        "neverblink.vision.named_regions.drawing",
        "neverblink.vision.named_regions.spec",
        "neverblink.vision.plain_name",
        "neverblink.vision.region_of_interest",
    },
    # What a model says of itself, and nothing of what it does.
    "surroundings": {"neverblink.vision.artifact_manifest"},
    # An artifact is a folder of files that appears whole; the module knows the standard library and nothing else.
    "vision": {"neverblink.storage.whole_file"},
}

HEAVY = {
    "torch", "torchvision", "timm", "faiss", "faust", "mode", "asyncua", "sqlalchemy", "cv2", "sklearn", "fastapi",
    "uvicorn", "pyarrow", "scipy",
}  # fmt: skip


def room_of(path: Path) -> str:
    first = path.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


def source_files() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def imported(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield line and full name of everything that a module imports, wherever in the module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: imports are absolute in this package"
            for alias in node.names:
                yield node.lineno, f"{node.module}.{alias.name}"


def faults_of(path: Path, source: str) -> list[str]:
    room = room_of(path)
    if room in EVERYTHING:
        return []
    if room not in MAY_IMPORT:
        return [f"{path}: the room {room} has no import rule; add it to MAY_IMPORT"]
    faults = []
    for line, name in imported(ast.parse(source)):
        parts = name.split(".")
        if parts[0] != "neverblink" or len(parts) < 2 or parts[1] in {"__version__", "errors", "shown"}:
            continue
        allowed = MAY_IMPORT[room] | {room}
        door = any(name == opened or name.startswith(f"{opened}.") for opened in DOORS.get(room, ()))
        if parts[1] not in allowed and not door:
            faults.append(f"{path}:{line}: {room} must not import {name}")
    return faults


def test_no_room_imports_what_design_forbids() -> None:
    faults = [fault for path in source_files() for fault in faults_of(path, path.read_text())]
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize(
    ("room", "source", "is_fault"),
    [
        ("camera", "from neverblink.vision.quality import measure", False),
        ("camera", "from neverblink.vision.patchcore import PatchCore", True),
        ("camera", "from neverblink.vision import quality, patchcore", True),
        ("scorer", "from neverblink.camera.picture import Picture", True),
        ("bridge", "def later():\n    from neverblink.scorer.service import Scorer", True),
        ("bridge", "import neverblink.ledger.service", True),
        ("vision", "from neverblink.events import Verdict", True),
        ("vision", "from neverblink.storage.whole_file import write_whole_folder", False),
        ("vision", "from neverblink.storage.file_root import FileRoot", True),
        ("events", "from neverblink import plant", True),
        ("plc", "from neverblink.kafka import EventProducer", True),
        ("trainer", "from neverblink.decisions.rules import rules_of", False),
        ("bridge", "from neverblink.decisions.rules import rules_of", True),
        ("console", "from neverblink.records.questions.parts import parts", False),
        ("console", "from neverblink.ledger.api.app import api_of", True),
        ("console", "from neverblink.trainer.fitting.fit import fit", True),
        ("scorer", "from neverblink.vision.patchcore import PatchCore", False),
        ("drift", "from neverblink import __version__, telemetry", False),
        ("telemetry", "from neverblink.plant import Plant", True),
        ("service_life", "from neverblink import telemetry", False),
        ("service_life", "from neverblink.plant import Plant", True),
        ("plc", "from neverblink.service_life.back_off import BackOff", False),
        ("brokers", "from neverblink.kafka import EventProducer", True),
        ("simulation", "from neverblink.bridge.service import serve", True),
        ("attic", "x = 1", True),
    ],
)
def test_the_rule_finds_what_it_is_for(room: str, source: str, is_fault: bool) -> None:
    assert bool(faults_of(PACKAGE / room / "module.py", source)) is is_fault


def test_every_room_with_a_rule_exists() -> None:
    rooms = {room_of(path) for path in source_files()}
    assert MAY_IMPORT.keys() - rooms == set()


def test_the_page_of_the_rooms_says_what_the_rules_say() -> None:
    page = (PACKAGE.parents[1] / "docs/architecture.md").read_text()
    section = page[page.index("## Rooms and import rules") : page.index("## Delivery")]
    rows = [line.strip("| ").split(" |") for line in section.splitlines() if line.startswith("| `")]
    imports = {row[0].strip("` "): row[2] if len(row) > 2 else "" for row in rows}
    names = {room: set(re.findall(r"`([\w.]+)`", text)) for room, text in imports.items() if "`, `" not in room}
    doors = {room: {name.removeprefix("neverblink.") for name in opened} for room, opened in DOORS.items()}
    told = {
        room: allowed | doors.get(room, set())
        for room, allowed in MAY_IMPORT.items()
        if room not in {"errors", "shown"}
    }
    assert names == told


def modules_of(room: str) -> list[str]:
    files = sorted((PACKAGE / room).rglob("*.py"))
    names = [".".join(("neverblink", *path.relative_to(PACKAGE).with_suffix("").parts)) for path in files]
    return [name.removesuffix(".__init__") for name in names]


def loaded_by(modules: list[str]) -> set[str]:
    """Return the heavy packages that a fresh interpreter has loaded after importing these."""
    program = "\n".join(
        [f"import {module}" for module in modules]
        + ["import sys", f"print(*sorted(name for name in {sorted(HEAVY)!r} if name in sys.modules))"]
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


@pytest.mark.parametrize(
    ("room", "may_load"),
    [
        ("camera", {"cv2"}),
        ("bridge", {"asyncua"}),
        ("drift", {"faust", "mode"}),
        ("ledger", {"sqlalchemy", "fastapi", "uvicorn", "scipy"}),
        ("console", {"sqlalchemy", "fastapi", "uvicorn", "cv2", "scipy"}),
        ("records", {"sqlalchemy", "scipy"}),
        ("confidence", {"scipy"}),
        ("kafka", set()),
        ("plc", {"asyncua"}),
        ("events", set()),
        ("telemetry", set()),
        ("service_life", set()),
        ("brokers", set()),
        # Whoever shows decisions and models to people asks these two, on hosts that have no network to run.
        ("decisions", {"cv2"}),
        ("model_registry", {"cv2"}),
    ],
)
def test_a_room_loads_only_the_heavy_packages_it_needs(room: str, may_load: set[str]) -> None:
    assert loaded_by(modules_of(room)) <= may_load


def test_the_command_line_starts_without_any_heavy_package() -> None:
    assert loaded_by(["neverblink.cli.every_command"]) == set()


def test_a_scorer_starts_without_what_only_builds_networks() -> None:
    assert loaded_by(["neverblink.cli.services", "neverblink.scorer.commands"]) <= {"torch", "faiss", "cv2"}


def test_a_service_starts_without_what_other_commands_say_of_themselves() -> None:
    program = (
        "import sys; sys.argv = ['neverblink', 'bridge', '--plant', 'nowhere.yaml']\n"
        "import neverblink.cli\n"
        "try: neverblink.cli.main()\n"
        "except SystemExit: print(*(name for name in sys.modules if name.startswith('neverblink.')))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert "nowhere.yaml" in done.stderr
    loaded = {name.split(".")[1] for name in done.stdout.split()}
    assert "cli" in loaded
    assert loaded.isdisjoint({"trainer", "agreement", "demo", "qualification", "reviewing"}), loaded


def test_image_statistics_need_no_torch() -> None:
    assert loaded_by(["neverblink.vision.quality"]) <= {"cv2"}


def test_what_is_said_of_an_artifact_needs_no_torch() -> None:
    modules = ("artifact_manifest", "artifact", "calibration", "inspection", "hybrid")
    assert loaded_by([f"neverblink.vision.{name}" for name in modules]) <= {"cv2"}
