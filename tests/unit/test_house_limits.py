"""What keeps the house readable: short files and functions, few parameters, a reason beside every broad handler."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TRAINER = ROOT / "services/neverblink/trainer"

MOST_LINES = 450
MOST_LINES_OF_TESTS = 660  # a file of tests is a list of claims, each read by itself
MOST_LINES_OF_A_FUNCTION = 70
MOST_PARAMETERS = 12

# Longer files, each with the reason why it is not cut.
LONG_FILES = {
    "bench/line/scorer.py": "one program that measures three scorers on one site, to be read from top to bottom",
}
# Functions whose length or parameters a framework asks for.
LONG_FUNCTIONS: dict[str, str] = {}
MANY_PARAMETERS: dict[str, str] = {}

# The trainer's folders by level: a folder imports those of lower levels alone.
TRAINER_LEVELS = {
    "datasets": 0,
    "reports": 0,
    "promises": 1,
    "collecting": 1,
    "fitting": 2,
    "offline_inspection": 2,
    "evaluation": 3,
    "teaching": 3,
    "retraining": 4,
}

_BROAD = {"Exception", "BaseException"}
# What a person wrote, not what a tool is told.
_REASON = re.compile(r"#\s*(?!noqa|type:)\S|#\s*noqa:\s*[A-Z0-9, ]+\s*(?:#|-|–)\s*\S")


@cache
def sources() -> dict[str, str]:
    found = {}
    for folder in ("services", "bench", "tests"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            if "node_modules" not in path.parts and ".venv" not in path.parts:
                found[str(path.relative_to(ROOT))] = path.read_text(encoding="utf-8")
    return found


Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions(source: str) -> Iterator[Function]:
    return (node for node in ast.walk(ast.parse(source)) if isinstance(node, Function))


def parameters(function: Function) -> list[str]:
    given = function.args
    every = [*given.posonlyargs, *given.args, *given.kwonlyargs]
    return [one.arg for one in every if one.arg not in {"self", "cls"}]


def lines_of(function: Function) -> int:
    assert function.end_lineno is not None
    return function.end_lineno - function.lineno + 1


def broad_handlers_without_reason(source: str) -> list[int]:
    """Return the lines of handlers of all exceptions that neither say why nor only tidy up and raise it again.

    A `with suppress(Exception)` is one too.
    """
    lines = source.splitlines()
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.With):
            caught = [name for one in node.items for name in _suppressed(one.context_expr)]
        elif isinstance(node, ast.ExceptHandler):
            caught = list(ast.walk(node.type)) if node.type else [ast.Name("BaseException")]
            last = node.body[-1]
            if isinstance(last, ast.Raise) and last.exc is None:
                continue
        else:
            continue
        if not {name.id for name in caught if isinstance(name, ast.Name)} & _BROAD:
            continue
        # The comment stands beside it, above it, or before the first statement of its block.
        near = lines[max(0, node.lineno - 2) : node.body[0].lineno]
        if not any(_REASON.search(line) for line in near):
            found.append(node.lineno)
    return found


def _suppressed(context: ast.expr) -> list[ast.expr]:
    """Return what a `with suppress(...)` suppresses, nothing for another context."""
    return context.args if isinstance(context, ast.Call) and "suppress" in ast.unparse(context.func) else []


def _stale(allowed: dict[str, str], found: set[str]) -> set[str]:
    """Return what is allowed and no longer needed: to be taken off the list."""
    return set(allowed) - found


def _most(name: str) -> int:
    return MOST_LINES_OF_TESTS if Path(name).name.startswith("test_") else MOST_LINES


def test_files_are_short() -> None:
    lines = {name: len(source.splitlines()) for name, source in sources().items()}
    long = {name: count for name, count in lines.items() if count > _most(name)}
    assert {name: count for name, count in long.items() if name not in LONG_FILES} == {}
    assert _stale(LONG_FILES, set(long)) == set()


def test_functions_are_short() -> None:
    found = {
        f"{name}:{function.name}": lines_of(function)
        for name, source in sources().items()
        for function in functions(source)
        if lines_of(function) > MOST_LINES_OF_A_FUNCTION
    }
    assert {name: count for name, count in found.items() if name not in LONG_FUNCTIONS} == {}
    assert _stale(LONG_FUNCTIONS, set(found)) == set()


def test_functions_have_few_parameters() -> None:
    found = {
        f"{name}:{function.name}": len(parameters(function))
        for name, source in sources().items()
        for function in functions(source)
        if len(parameters(function)) > MOST_PARAMETERS
    }
    assert {name: count for name, count in found.items() if name not in MANY_PARAMETERS} == {}
    assert _stale(MANY_PARAMETERS, set(found)) == set()


def test_every_handler_of_all_exceptions_says_why() -> None:
    found = [
        f"{name}:{line}"
        for name, source in sources().items()
        if not name.startswith("tests/")
        for line in broad_handlers_without_reason(source)
    ]
    assert found == []


def test_the_trainers_folders_have_no_arrow_back() -> None:
    faults = []
    for path in sorted(TRAINER.rglob("*.py")):
        room = path.relative_to(TRAINER).parts[0]
        if room not in TRAINER_LEVELS:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("neverblink.trainer."):
                other = str(node.module).split(".")[2]
                if other != room and TRAINER_LEVELS.get(other, 99) >= TRAINER_LEVELS[room]:
                    faults.append(f"{path.relative_to(TRAINER)}:{node.lineno} imports {other}")
    assert faults == []


@pytest.mark.parametrize(
    ("handler", "reasoned"),
    [
        ("except Exception:\n    told()", False),
        ("except:\n    told()", False),
        ("except (ValueError, Exception):\n    told()", False),
        ("except Exception:  # noqa: BLE001\n    told()", False),
        ("except Exception as error:\n    raise Sentence() from error", False),
        ("except Exception:  # noqa: BLE001 - the boundary: the other lines go on\n    told()", True),
        ("except Exception:  # noqa: BLE001\n    # The boundary: the other lines go on.\n    told()", True),
        ("except BaseException:\n    tidied()\n    raise", True),
        ("except ValueError:\n    told()", True),
    ],
)
def test_a_reason_is_told_from_an_order_to_a_tool(handler: str, reasoned: bool) -> None:
    assert (broad_handlers_without_reason(f"try:\n    work()\n{handler}\n") == []) is reasoned


@pytest.mark.parametrize(
    ("suppressed", "reasoned"),
    [
        ("with contextlib.suppress(Exception):", False),
        ("with suppress(OSError, BaseException):", False),
        ("with contextlib.suppress(Exception):  # whatever it has left to say", True),
        ("with contextlib.suppress(OSError):", True),
        ("with opened(Exception):", True),
    ],
)
def test_what_is_suppressed_needs_a_reason_too(suppressed: str, reasoned: bool) -> None:
    assert (broad_handlers_without_reason(f"{suppressed}\n    work()\n") == []) is reasoned
