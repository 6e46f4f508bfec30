"""Adds reference parts to the plant's file of them; what people wrote there stays as they wrote it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from neverblink.errors import NeverblinkError
from neverblink.plant.parsing import parse_section
from neverblink.plant.references import GOOD, ReferencePart, References, load_references
from neverblink.plant.section import PlantError
from neverblink.storage.whole_file import write_whole

MAX_PICTURE_BYTES = 64 * 1024 * 1024


class ReferencePartError(NeverblinkError, ValueError):
    """A reference part that cannot be added; the message says why."""


@dataclass(frozen=True, slots=True)
class NewReference:
    """What a person knows of a part. Without defects it is good; `pictures` are copied beside the file."""

    id: str
    product: str
    defects: Sequence[str] = ()
    pictures: Sequence[Path] = ()
    serial: str | None = None
    note: str | None = None


def add_reference(file: Path, new: NewReference) -> ReferencePart:
    """Add a part to the end of the file, which is made where there is none; pictures are copied beside it.

    Raises ReferencePartError, PlantError, OSError.
    """
    known = load_references(file)
    if known.get(new.id) is not None:
        raise ReferencePartError(f"{file} has a reference part {new.id} already: give another id, or edit the file")
    folder = file.with_suffix("")
    copies = {
        folder / f"{_file_name(new.id)}-{number}{picture.suffix.lower()}": _bytes_of(picture)
        for number, picture in enumerate(new.pictures, start=1)
    }
    fields: dict[str, Any] = {"id": new.id, "product": new.product, "answer": list(new.defects) or GOOD}
    if copies:
        fields["pictures"] = [path.relative_to(file.parent).as_posix() for path in copies]
    fields |= {name: text for name, text in (("serial", new.serial), ("note", new.note)) if text is not None}
    before = file.read_text(encoding="utf-8") if file.exists() else ""
    text = _with_item(before, fields, str(file), len(known.references))
    for path, content in copies.items():
        write_whole(path, content)
    write_whole(file, text.encode())
    return load_references(file).named(new.id)


def _with_item(before: str, fields: dict[str, Any], name: str, count: int) -> str:
    """Return the file's text with one item more, checked. People's comments and order stay."""
    if not before.strip():
        before = "# Reference parts: known parts that are sent down the line, and what is known of each.\nreferences:\n"
    item = yaml.safe_dump(fields, sort_keys=False, allow_unicode=True, default_flow_style=None, width=100)
    fault: PlantError | None = None
    for indent in ("", "  ", "    "):
        first, *rest = item.splitlines()
        lines = [f"{indent}- {first}", *(f"{indent}  {line}" for line in rest)]
        text = f"{before.rstrip()}\n" + "\n".join(lines) + "\n"
        try:
            found = parse_section(text, name, References, "reference", begin="references")
        except PlantError as error:
            fault = fault or error
            continue
        if len(found.references) == count + 1:
            return text
    raise ReferencePartError(
        f"the part cannot be added to the end of {name} as it is written ({fault}); write it there by hand:\n{item}"
    )


def _bytes_of(picture: Path) -> bytes:
    try:
        with picture.open("rb") as file:
            content = file.read(MAX_PICTURE_BYTES + 1)
    except OSError as error:
        raise ReferencePartError(f"the picture {picture} cannot be read: {error.strerror}") from error
    if len(content) > MAX_PICTURE_BYTES:
        raise ReferencePartError(f"the picture {picture} is larger than {MAX_PICTURE_BYTES // 2**20} MiB")
    return content


def _file_name(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]", "_", text).lstrip(".") or "part"
