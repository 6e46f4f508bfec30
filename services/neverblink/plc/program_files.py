"""The shipped Structured Text in the forms that engineering tools import: PLCopen XML, Siemens SCL, Rockwell L5X.

One source: the `.st` files of deploy/plc. `python -m neverblink.plc.program_files deploy/plc` writes the others beside
them. Formats: PLCopen TC6 XML 2.01; TIA Portal's external sources; Rockwell's import format, publication 1756-RM084.
"""

import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

_DECLARED = re.compile(
    r"^\s*(\w+)\s*:\s*(?:ARRAY\[0\.\.(\d+)\] OF )?(\w+)(?:\s*:=\s*(\w+))?;\s*(?:\(\*\s*(.*?)\s*\*\))?\s*$", re.MULTILINE
)
_COMMENT = re.compile(r"\(\*.*?\*\)", re.DOTALL)
_SECTIONS = ("VAR CONSTANT", "VAR_IN_OUT", "VAR_INPUT", "VAR_OUTPUT", "VAR")
_SCL_TYPES = {"BOOL": "Bool", "UINT": "UInt", "UDINT": "UDInt", "INT": "Int"}
_WRITTEN = "2026-01-01T00:00:00"  # the formats want an instant; the same source gives the same file


@dataclass(frozen=True, slots=True)
class Variable:
    """A declared variable; `last` is an array's highest index."""

    name: str
    last: int | None
    type: str
    initial: str | None
    about: str


@dataclass(frozen=True, slots=True)
class Program:
    """A structure and the function block that works on it, as the source declares them."""

    structure: str
    fields: tuple[Variable, ...]
    block: str
    sections: dict[str, tuple[Variable, ...]]
    body: str
    head: str

    @property
    def locals(self) -> set[str]:
        """Return the names that the block itself declares."""
        return {one.name for section in self.sections.values() for one in section}


def read_program(source: str) -> Program:
    """Return what a Structured Text file declares. Raises ValueError where it has another form than ours."""
    found = re.search(r"TYPE (\w+) :\s*STRUCT\n(.*?)END_STRUCT;\s*END_TYPE\s*FUNCTION_BLOCK (\w+)\n", source, re.DOTALL)
    if found is None:
        raise ValueError("the source does not begin with a structure and a function block")
    rest, sections = source[found.end() :], {}
    for name in _SECTIONS:
        section = re.search(rf"^{name}\n(.*?)^END_VAR\n", rest, re.DOTALL | re.MULTILINE)
        if section is None:
            raise ValueError(f"the function block has no {name}")
        sections[name] = tuple(_variables(section[1]))
    begin = rest.rindex("END_VAR\n") + len("END_VAR\n")
    body = rest[begin : rest.rindex("END_FUNCTION_BLOCK")].strip("\n")
    head = (_COMMENT.match(source) or [""])[0].strip("(*) \n")
    return Program(found[1], tuple(_variables(found[2])), found[3], sections, body, head)


def _variables(text: str) -> Iterator[Variable]:
    for name, last, kind, initial, about in _DECLARED.findall(text):
        yield Variable(name, int(last) if last else None, kind, initial or None, about)


# PLCopen XML


def plcopen_xml(program: Program) -> str:
    """Return the program as PLCopen TC6 XML 2.01."""
    fields = "".join(_xml_variable(one, "          ") for one in program.fields)
    interface = "".join(
        f"          <{tag}>\n{''.join(_xml_variable(one, '            ') for one in program.sections[name])}"
        f"          </{tag.split(' ')[0]}>\n"
        for name, tag in (
            ("VAR_INPUT", "inputVars"),
            ("VAR_OUTPUT", "outputVars"),
            ("VAR_IN_OUT", "inOutVars"),
            ("VAR", "localVars"),
            ("VAR CONSTANT", 'localVars constant="true"'),
        )
    )
    scaling = "".join(f'<{kind}><scaling x="1" y="1"/></{kind}>' for kind in ("fbd", "ld", "sfc"))
    return f"""\
<?xml version="1.0" encoding="utf-8"?>
<project xmlns="http://www.plcopen.org/xml/tc6_0201" xmlns:xhtml="http://www.w3.org/1999/xhtml">
  <fileHeader companyName="neverblink" productName="neverblink" productVersion="1" creationDateTime="{_WRITTEN}"/>
  <contentHeader name="{program.block}" modificationDateTime="{_WRITTEN}">
    <coordinateInfo>{scaling}</coordinateInfo>
  </contentHeader>
  <types>
    <dataTypes>
      <dataType name="{program.structure}">
        <baseType>
          <struct>
{fields}          </struct>
        </baseType>
      </dataType>
    </dataTypes>
    <pous>
      <pou name="{program.block}" pouType="functionBlock">
        <interface>
{interface}        </interface>
        <body>
          <ST>
            <xhtml:p>{escape(program.body)}</xhtml:p>
          </ST>
        </body>
      </pou>
    </pous>
  </types>
  <instances>
    <configurations/>
  </instances>
</project>
"""


def _xml_variable(one: Variable, indent: str) -> str:
    kind = f"<{one.type}/>" if one.type in _SCL_TYPES else f'<derived name="{one.type}"/>'
    if one.last is not None:
        kind = f'<array><dimension lower="0" upper="{one.last}"/><baseType>{kind}</baseType></array>'
    initial = "" if one.initial is None else f'<initialValue><simpleValue value="{one.initial}"/></initialValue>'
    about = f"<documentation><xhtml:p>{escape(one.about)}</xhtml:p></documentation>" if one.about else ""
    return f'{indent}<variable name="{one.name}"><type>{kind}</type>{initial}{about}</variable>\n'


# Siemens SCL


def siemens_scl(program: Program) -> str:
    """Return the program as an external source for TIA Portal: data type, function block, a line's data block."""
    own = program.locals
    code = _outside_comments(
        program.body, lambda text: re.sub(r"(?<![\w.#])([A-Za-z]\w*)", lambda m: _hashed(m[1], own), text)
    )
    sections = "".join(
        f"   {name}\n{_scl_variables(program.sections[name], '      ')}   END_VAR\n"
        for name in ("VAR_INPUT", "VAR_OUTPUT", "VAR_IN_OUT", "VAR", "VAR CONSTANT")
    )
    access = "{ S7_Optimized_Access := 'TRUE' }"
    head = "\n".join(f"// {line.strip()}".rstrip() for line in program.head.splitlines())
    return f"""\
{head}

TYPE "{program.structure}"
VERSION : 1.0
   STRUCT
{_scl_variables(program.fields, "      ")}   END_STRUCT;
END_TYPE

FUNCTION_BLOCK "{program.block}"
{access}
VERSION : 1.0
{sections}
BEGIN
{_slashed(code)}
END_FUNCTION_BLOCK

// One for each line; set its retain mark, as Epoch must count on over a power cut.
DATA_BLOCK "{program.structure.removeprefix("ST_")}"
{access}
VERSION : 1.0
"{program.structure}"
BEGIN
END_DATA_BLOCK
"""


def _hashed(word: str, own: set[str]) -> str:
    return f"#{word}" if word in own else word


def _scl_variables(variables: Sequence[Variable], indent: str) -> str:
    lines = []
    for one in variables:
        kind = _SCL_TYPES.get(one.type, f'"{one.type}"')
        kind = kind if one.last is None else f"Array[0..{one.last}] of {kind}"
        initial = "" if one.initial is None else f" := {one.initial}"
        about = f"   // {one.about}" if one.about else ""
        lines.append(f"{indent}{one.name} : {kind}{initial};{about}\n")
    return "".join(lines)


def _slashed(code: str) -> str:
    """Return code whose comments begin with two slashes, line by line."""

    def line_by_line(found: re.Match[str]) -> str:
        lines = found[0].removeprefix("(*").removesuffix("*)").strip().splitlines()
        return "\n".join(f"// {line.strip()}" for line in lines)

    return _COMMENT.sub(line_by_line, code)


# Rockwell L5X


def rockwell_l5x(program: Program) -> str:
    """Return the program as an Add-On Instruction with its data type, for Logix Designer."""
    constants = {one.name: one.initial or "0" for one in program.sections["VAR CONSTANT"]}
    words = constants | {"TRUE": "1", "FALSE": "0"}

    def logix(text: str) -> str:
        text = re.sub(r"\b[A-Z]+_TO_[A-Z]+\(", "(", text)  # Logix converts by itself
        return re.sub(r"(?<![\w.])([A-Z]+)\b", lambda found: words.get(found[1], found[1]), text)

    lines = _outside_comments(program.body, logix).splitlines()
    code = "".join(f'<Line Number="{number}">\n<![CDATA[{line}]]>\n</Line>\n' for number, line in enumerate(lines))
    usage = {"VAR_IN_OUT": "InOut", "VAR_INPUT": "Input", "VAR_OUTPUT": "Output"}
    parameters = "".join(_l5x_parameter(one, usage[name]) for name in usage for one in program.sections[name])
    local = "".join(_l5x_local(one) for one in program.sections["VAR"])
    options = "References DecoratedData Context Dependencies AllProjDocTrans"
    return f"""\
<?xml version="1.0" encoding="UTF-8" standalone="yes"?>
<RSLogix5000Content SchemaRevision="1.0" SoftwareRevision="36.00" TargetName="{program.block}"\
 TargetType="AddOnInstructionDefinition" TargetRevision="1.0" ContainsContext="true"\
 ExportDate="Thu Jan 01 00:00:00 2026" ExportOptions="{options}">
<Controller Use="Context" Name="neverblink">
<DataTypes Use="Context">
<DataType Use="Context" Name="{program.structure}" Family="NoFamily" Class="User">
<Members>
{"".join(_l5x_members(program))}</Members>
</DataType>
</DataTypes>
<AddOnInstructionDefinitions Use="Context">
<AddOnInstructionDefinition Use="Target" Name="{program.block}" Revision="1.0" ExecutePrescan="false"\
 ExecutePostscan="false" ExecuteEnableInFalse="false" CreatedDate="{_WRITTEN}.000Z" CreatedBy="neverblink"\
 EditedDate="{_WRITTEN}.000Z" EditedBy="neverblink" SoftwareRevision="v36.00">
<Parameters>
<Parameter Name="EnableIn" TagType="Base" DataType="BOOL" Usage="Input" Radix="Decimal" Required="false"\
 Visible="false" ExternalAccess="Read Only"/>
<Parameter Name="EnableOut" TagType="Base" DataType="BOOL" Usage="Output" Radix="Decimal" Required="false"\
 Visible="false" ExternalAccess="Read Only"/>
{parameters}</Parameters>
<LocalTags>
{local}</LocalTags>
<Routines>
<Routine Name="Logic" Type="ST">
<STContent>
{code}</STContent>
</Routine>
</Routines>
</AddOnInstructionDefinition>
</AddOnInstructionDefinitions>
</Controller>
</RSLogix5000Content>
"""


def _l5x_members(program: Program) -> Iterator[str]:
    """Yield the members of the data type. Logix keeps bits in hidden bytes, eight in each."""
    bits, host = 0, ""
    for one in program.fields:
        described = f"<Description>\n<![CDATA[{one.about}]]>\n</Description>\n" if one.about else ""
        tail = f'ExternalAccess="Read/Write">\n{described}</Member>\n'
        if one.type == "BOOL" and one.last is None:
            if bits % 8 == 0:
                host = f"ZZZZZZZZZZ{program.structure[:20]}{bits // 8}"
                yield (
                    f'<Member Name="{host}" DataType="SINT" Dimension="0" Radix="Decimal" Hidden="true"'
                    ' ExternalAccess="Read/Write"/>\n'
                )
            target = f'Hidden="false" Target="{host}" BitNumber="{bits % 8}"'
            yield f'<Member Name="{one.name}" DataType="BIT" Dimension="0" Radix="Decimal" {target} {tail}'
            bits += 1
        else:
            size = 0 if one.last is None else one.last + 1
            shape = f'DataType="{one.type}" Dimension="{size}" Radix="Decimal" Hidden="false"'
            yield f'<Member Name="{one.name}" {shape} {tail}'


def _l5x_parameter(one: Variable, usage: str) -> str:
    about = f"<Description>\n<![CDATA[{one.about}]]>\n</Description>\n" if one.about else ""
    name = f'<Parameter Name={quoteattr(one.name)} TagType="Base" DataType={quoteattr(one.type)}'
    if usage == "InOut":
        return f'{name} Usage="InOut" Required="true" Visible="true" Constant="false">\n{about}</Parameter>\n'
    required = "true" if usage == "Input" and one.initial is None else "false"
    access = "Read/Write" if usage == "Input" else "Read Only"
    tail = f'Radix="Decimal" Required="{required}" Visible="true" ExternalAccess="{access}">'
    initial = one.initial or "0"
    data = f'<DefaultData Format="L5K">\n<![CDATA[{initial}]]>\n</DefaultData>\n'
    return f'{name} Usage="{usage}" {tail}\n{about}{data}</Parameter>\n'


def _l5x_local(one: Variable) -> str:
    size = "" if one.last is None else f' Dimensions="{one.last + 1}"'
    return f'<LocalTag Name="{one.name}" DataType="{one.type}"{size} Radix="Decimal" ExternalAccess="None"/>\n'


def _outside_comments(code: str, change: Callable[[str], str]) -> str:
    """Return code of which only what is no comment was changed."""
    parts, at = [], 0
    for comment in _COMMENT.finditer(code):
        parts += [change(code[at : comment.start()]), comment[0]]
        at = comment.end()
    return "".join([*parts, change(code[at:])])


def program_files(source: str) -> dict[str, str]:
    """Return the other forms of a Structured Text file by their names."""
    program = read_program(source)
    return {
        f"{program.block}.plcopen.xml": plcopen_xml(program),
        f"{program.block}.scl": siemens_scl(program),
        f"{program.block}.L5X": rockwell_l5x(program),
    }


def write_programs(folder: Path) -> list[Path]:
    """Write the other forms beside each Structured Text file of a folder, and return them."""
    written = []
    for source in sorted(folder.glob("*.st")):
        for name, text in program_files(source.read_text(encoding="utf-8")).items():
            (folder / name).write_text(text, encoding="utf-8")
            written.append(folder / name)
    return written


if __name__ == "__main__":
    write_programs(Path(sys.argv[1]))
