"""The forms of the Structured Text that engineering tools import: from one source, whole, and saying the same.

None was loaded into a controller or its engineering tool. The program itself is run cycle by cycle in
test_structured_text.py; here each form's own code, translated back, must be that very program.
"""

import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from structured_text import FunctionBlock

from neverblink.plc.program_files import Program, program_files, read_program

FOLDER = Path(__file__).parents[2] / "deploy" / "plc"
SOURCES = sorted(FOLDER.glob("*.st"))
TC6 = "{http://www.plcopen.org/xml/tc6_0201}"
XHTML = "{http://www.w3.org/1999/xhtml}"
TOKEN = re.compile(r"\w+|:=|<>|>=|<=|\S")


def tokens(code: str) -> list[str]:
    """Return code as a compiler reads it: without comments and blanks."""
    return TOKEN.findall(re.sub(r"\(\*.*?\*\)|//[^\n]*", "", code, flags=re.DOTALL))


@pytest.fixture(params=SOURCES, ids=lambda path: path.stem)
def source(request: pytest.FixtureRequest) -> Path:
    found: Path = request.param
    return found


@pytest.fixture
def program(source: Path) -> Program:
    return read_program(source.read_text())


def form(source: Path, suffix: str) -> str:
    return (source.parent / f"{source.stem}{suffix}").read_text()


def test_both_programs_are_there() -> None:
    assert [path.stem for path in SOURCES] == ["FB_VisionMailbox", "FB_VisionReject"]


def test_what_is_checked_in_is_what_the_source_says(source: Path) -> None:
    for name, text in program_files(source.read_text()).items():
        stale = f"{name} is stale: `python -m neverblink.plc.program_files deploy/plc` writes it"
        assert (FOLDER / name).read_text() == text, stale


def test_every_variable_of_the_source_is_read(source: Path, program: Program) -> None:
    text = re.sub(r"\(\*.*?\*\)", "", source.read_text(), flags=re.DOTALL)
    declared = text[: text.rindex("END_VAR")]
    assert declared.count(";") - 1 == len(program.fields) + len(program.locals)  # less the one behind END_STRUCT
    assert tokens(program.body) == tokens(text[text.rindex("END_VAR") + 7 : text.rindex("END_FUNCTION_BLOCK")])
    assert program.head
    FunctionBlock(source.read_text())


def test_plcopen_xml_has_the_structure_the_block_and_its_very_code(source: Path, program: Program) -> None:
    root = ET.fromstring(form(source, ".plcopen.xml"))
    assert root.tag == f"{TC6}project"
    assert [child.tag for child in root] == [
        TC6 + name for name in ("fileHeader", "contentHeader", "types", "instances")
    ]
    struct = root.find(f".//{TC6}dataType/{TC6}baseType/{TC6}struct")
    assert struct is not None
    kinds = {one.type for one in program.fields}
    for found, one in zip(struct, program.fields, strict=True):
        assert found.get("name") == one.name
        (kind,) = [element.tag.removeprefix(TC6) for element in found.iter() if element.tag.removeprefix(TC6) in kinds]
        dimension = found.find(f".//{TC6}dimension")
        assert (kind, dimension.get("upper") if dimension is not None else None) == (
            one.type, None if one.last is None else str(one.last),
        )  # fmt: skip
    (pou,) = root.iter(f"{TC6}pou")
    assert (pou.get("name"), pou.get("pouType")) == (program.block, "functionBlock")
    interface = pou.find(f"{TC6}interface")
    assert interface is not None
    assert {found.get("name") for found in interface.iter(f"{TC6}variable")} == program.locals
    (body,) = [element.text for element in pou.findall(f"{TC6}body/{TC6}ST/{XHTML}p")]
    assert body == program.body


def test_siemens_scl_is_the_same_program_with_marked_local_names(source: Path, program: Program) -> None:
    text = form(source, ".scl")
    code = text[text.index("BEGIN\n") + 6 : text.index("END_FUNCTION_BLOCK")]
    assert "(*" not in text
    assert tokens(code.replace("#", "")) == tokens(program.body)
    without_comments = re.sub(r"//[^\n]*", "", code)
    marked = set(re.findall(r"#(\w+)", without_comments))
    assert marked <= program.locals
    bare = set(re.findall(r"(?<![\w.#])([A-Za-z]\w*)", without_comments))
    assert not bare & program.locals
    for part in (f'TYPE "{program.structure}"', f'FUNCTION_BLOCK "{program.block}"', 'DATA_BLOCK "Vision'):
        assert text.count(part) == text.count(f"END_{part.split()[0]}") == 1
    fields = re.findall(r"^ {6}(\w+) : ", text[text.index("STRUCT") : text.index("END_STRUCT")], re.MULTILINE)
    assert fields == [one.name for one in program.fields]


def test_rockwell_l5x_is_the_same_program_without_what_logix_does_not_know(source: Path, program: Program) -> None:
    root = ET.fromstring(form(source, ".L5X"))
    block = root.find("Controller/AddOnInstructionDefinitions/AddOnInstructionDefinition")
    assert block is not None
    assert root.get("TargetName") == block.get("Name") == program.block
    parameters = {one.get("Name"): one.get("Usage") for one in block.iter("Parameter")}
    assert parameters.items() >= {one.name: "Input" for one in program.sections["VAR_INPUT"]}.items()
    assert parameters.items() >= {one.name: "Output" for one in program.sections["VAR_OUTPUT"]}.items()
    assert parameters["Io"] == "InOut"
    local = {one.get("Name"): one.get("Dimensions") for one in block.iter("LocalTag")}
    assert local == {one.name: None if one.last is None else str(one.last + 1) for one in program.sections["VAR"]}
    lines = [(line.text or "").strip("\n") for line in block.iter("Line")]
    code = "\n".join(lines)
    expected = re.sub(r"\b[A-Z]+_TO_[A-Z]+\(", "(", re.sub(r"\(\*.*?\*\)", "", program.body, flags=re.DOTALL))
    for word, instead in (("TRUE", "1"), ("FALSE", "0"), ("SLOTS", "64")):
        expected = re.sub(rf"\b{word}\b", instead, expected)
    assert tokens(code) == tokens(expected)


def test_logix_keeps_every_bit_of_the_structure_in_a_hidden_byte(source: Path, program: Program) -> None:
    members = list(ET.fromstring(form(source, ".L5X")).iter("Member"))
    hidden = {one.get("Name") for one in members if one.get("Hidden") == "true"}
    bits = [(one.get("Target"), one.get("BitNumber")) for one in members if one.get("DataType") == "BIT"]
    assert [one.get("Name") for one in members if one.get("Hidden") == "false"] == [one.name for one in program.fields]
    assert len(set(bits)) == len(bits) == sum(one.type == "BOOL" for one in program.fields)
    assert {target for target, _ in bits} == hidden


def test_a_source_of_another_form_is_refused() -> None:
    with pytest.raises(ValueError, match="does not begin with a structure"):
        read_program("PROGRAM Main\nEND_PROGRAM\n")
