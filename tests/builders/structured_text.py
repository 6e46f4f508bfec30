"""Runs the shipped Structured Text in a test: enough of IEC 61131-3 for one function block, and no more.

Unsigned numbers wrap at their width when they are assigned, as PLCs do. What it does not know, it refuses.
"""

import re
from dataclasses import dataclass
from types import CodeType, SimpleNamespace
from typing import Any

_BITS = {"UINT": 16, "UDINT": 32}
_DECLARATION = re.compile(r"(\w+)\s*:\s*(?:ARRAY\[0\.\.(\d+)\] OF )?(\w+)(?:\s*:=\s*(\w+))?;")
_WORDS = {"AND": "and", "OR": "or", "NOT": "not", "MOD": "%", "TRUE": "True", "FALSE": "False"}


@dataclass(frozen=True)
class Variable:
    """A declared variable: its IEC type, its highest index where it is an array, its initial value."""

    type: str
    last: int | None
    initial: str | None

    def start(self) -> Any:
        zero: Any = False if self.type == "BOOL" else 0
        if self.initial is not None:
            zero = int(self.initial)
        return zero if self.last is None else [zero] * (self.last + 1)


def declarations(text: str) -> dict[str, Variable]:
    """Return the variables of a VAR or STRUCT section, in order."""
    return {
        name: Variable(kind, int(last) if last else None, initial or None)
        for name, last, kind, initial in _DECLARATION.findall(_uncommented(text))
    }


def structure(source: str) -> dict[str, Variable]:
    """Return the fields of the file's structure."""
    return declarations(source[source.index("STRUCT") : source.index("END_STRUCT")])


class FunctionBlock:
    """An instance; call it once a cycle with its inputs. Variables are in `values`, the structure is `io`."""

    def __init__(self, source: str) -> None:
        source = _uncommented(source)
        body = source[source.index("FUNCTION_BLOCK") :]
        head, _, code = body.rpartition("END_VAR")
        fields, self._variables = structure(source), declarations(head)
        del self._variables["Io"]
        self.io = SimpleNamespace(**{name: field.start() for name, field in fields.items()})
        self.values: dict[str, Any] = {name: variable.start() for name, variable in self._variables.items()}
        self.values["Io"] = self.io
        types = {f"Io.{name}": field.type for name, field in fields.items()}
        types |= {name: variable.type for name, variable in self._variables.items()}
        self._code = _compiled(code.replace("END_FUNCTION_BLOCK", ""), types)

    def __call__(self, **inputs: int | bool) -> None:
        assert inputs.keys() <= self._variables.keys()
        self.values.update(inputs)
        exec(self._code, self.values)


def _uncommented(text: str) -> str:
    return re.sub(r"\(\*.*?\*\)", "", text, flags=re.DOTALL)


def _compiled(code: str, types: dict[str, str]) -> CodeType:
    lines: list[str] = []
    depth = 0
    for line in filter(None, map(str.strip, code.splitlines())):
        if line in ("END_IF;", "END_FOR;"):
            depth -= 1
            continue
        if found := re.fullmatch(r"(IF|ELSIF) (.+) THEN", line):
            depth -= found[1] == "ELSIF"
            python = f"{'if' if found[1] == 'IF' else 'elif'} {_expression(found[2])}:"
        elif line == "ELSE":
            depth -= 1
            python = "else:"
        elif found := re.fullmatch(r"FOR (\w+) := (\d+) TO (\d+) DO", line):
            python = f"for {found[1]} in range({found[2]}, {int(found[3]) + 1}):"
        elif found := re.fullmatch(r"([\w.]+)(\[\w+\])? := (.+);", line):
            value, bits = _expression(found[3]), _BITS.get(types[found[1]])
            python = f"{found[1]}{found[2] or ''} = " + (value if bits is None else f"({value}) & {(1 << bits) - 1}")
        else:
            raise ValueError(f"this is not understood: {line}")
        lines.append("    " * depth + python)
        depth += python.endswith(":")
    assert depth == 0
    return compile("\n".join(lines), "FB_VisionReject.st", "exec")


def _expression(text: str) -> str:
    text = re.sub(r"\b[A-Z]+_TO_[A-Z]+\(", "int(", text)
    text = re.sub(r"(?<![<>:])=", "==", text).replace("<>", "!=").replace("/", "//")
    return re.sub(r"\b(AND|OR|NOT|MOD|TRUE|FALSE)\b", lambda word: _WORDS[word[1]], text)
