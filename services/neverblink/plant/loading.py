"""Reads a plant file: every fault with its place, or the plant with paths as seen from the file."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

import yaml
from pydantic import ValidationError

from neverblink.plant.faults import place_of, repeated_keys
from neverblink.plant.lines import Line
from neverblink.plant.parsing import MAX_PLANT_BYTES, parse_section
from neverblink.plant.products import Product
from neverblink.plant.section import PlantError, Section, Step
from neverblink.plant.whole import Plant, twins

__all__ = ["MAX_PLANT_BYTES", "load_plant", "load_sound_lines", "parse_plant"]


def load_plant(path: Path) -> Plant:
    """Read and check a plant file. Raises PlantError with every fault, each with line and column."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise PlantError(f"there is no plant file {path}; `neverblink plant example` prints one") from error
    except (OSError, UnicodeDecodeError) as error:
        raise PlantError(f"the plant file {path} cannot be read: {error}") from error
    return _anchored(parse_plant(text, str(path)), path.parent.resolve())


def placed(path: Path, steps: Iterable[Sequence[Step]]) -> list[str]:
    """Return `file:line:column` of settings of a plant file that was read, or of the section where one would stand."""
    root = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    assert root is not None
    return [f"{path}:{line}:{column}" for line, column in (place_of(root, at) for at in steps)]


def load_sound_lines(path: Path) -> tuple[Plant, tuple[str, ...]]:
    """Read a plant file without its faulty lines; return the plant and the faults, for people.

    Of two lines with one name, or one PLC table, neither is sound: nobody can tell which one is meant. Raises
    PlantError when anything but a line is at fault, or no line is left.
    """
    try:
        return load_plant(path), ()
    except PlantError as error:
        refused = error
    try:
        text = path.read_text(encoding="utf-8")
        root, values = yaml.compose(text, Loader=yaml.SafeLoader), yaml.safe_load(text)
        sound = [line for raw in values["lines"] if (line := _sound(raw)) is not None]
        alike = {name: fault for name, fault, _ in twins(sound)}
        left = [line for line in sound if line.name not in alike]
        if root is None or len(left) == len(values["lines"]) or any(repeated_keys(root)):
            raise refused
        plant = Plant.model_validate({**values, "lines": left})
    except (OSError, ValueError, LookupError, TypeError, RecursionError, yaml.YAMLError) as error:
        raise refused from error
    faults = [*str(refused).splitlines(), *(f"{path}: {fault}" for fault in alike.values())]
    return _anchored(plant, path.parent.resolve()), tuple(dict.fromkeys(faults))


def _sound(raw: object) -> Line | None:
    try:
        return Line.model_validate(raw)
    except ValidationError:
        return None


def parse_plant(text: str, name: str = "plant.yaml") -> Plant:
    """Check the text of a plant file; `name` is used in messages. Raises PlantError."""
    return parse_section(text, name, Plant, "plant", begin="site")


def _anchored(plant: Plant, folder: Path) -> Plant:
    """Make relative paths absolute, as seen from the plant file's folder."""
    ledger = _anchored_database(plant.storage.ledger, folder)
    objects = plant.storage.objects
    if objects is not None and "://" not in objects:
        objects = str(folder / objects)
    store = plant.storage.artifact_store
    if store is not None and "://" not in store:
        store = str(folder / store)
    storage = plant.storage.model_copy(update={"ledger": ledger, "objects": objects, "artifact_store": store})
    evidence = plant.records.evidence
    if evidence.store is not None and "://" not in evidence.store:
        evidence = evidence.model_copy(update={"store": str(folder / evidence.store)})
    records = plant.records.model_copy(update={"evidence": evidence})
    console = plant.console.model_copy(update={"database": _anchored_database(plant.console.database, folder)})
    sets = {
        product: place if "://" in place else str(folder / place) for product, place in plant.proof.golden.sets.items()
    }
    golden = plant.proof.golden.model_copy(update={"sets": sets})
    proof = plant.proof.model_copy(update={"golden": golden})
    changed = {"storage": storage, "records": records, "console": console, "proof": proof}
    return _anchor_paths(plant.model_copy(update=changed), folder)


def _anchored_database(url: str, folder: Path) -> str:
    file = url.removeprefix("sqlite:///")
    return url if file == url or Path(file).is_absolute() else f"sqlite:///{folder / file}"


T = TypeVar("T")


def _anchor_paths(section: T, folder: Path) -> T:
    anchored: Any = section
    if isinstance(section, tuple):
        anchored = tuple(_anchor_paths(item, folder) for item in section)
    elif isinstance(section, Section):
        # A product's artifact is anchored to storage.artifacts instead, by Plant.artifact_folder.
        names = type(section).model_fields.keys() - ({"artifact"} if isinstance(section, Product) else set())
        anchored = section.model_copy(update={name: _anchor_paths(getattr(section, name), folder) for name in names})
    elif isinstance(section, dict):
        anchored = {name: _anchor_paths(item, folder) for name, item in section.items()}
    elif isinstance(section, Path) and not section.is_absolute():
        anchored = folder / section
    return cast(T, anchored)
