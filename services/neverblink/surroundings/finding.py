"""What was found outside of a plant file, and which setting speaks of it."""

from dataclasses import dataclass

from neverblink.plant.section import Step

At = tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding: the steps to its setting, a sentence, and whether something must be mended; else it is a note."""

    at: At
    sentence: str
    wrong: bool = True
