"""What an inspection without a line goes by, worked out: rules, scales and thresholds beside what was asked."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from neverblink.decisions.rules import DEFAULT_RULES, ProductRules
from neverblink.trainer.offline_inspection.settings import Level, Severity
from neverblink.vision.network_names import EngineName


@dataclass(frozen=True, slots=True)
class SecondPass:
    """A stronger artifact that judges again what the first one rejects, is unsure of, or scores from `from_ratio` of
    its threshold on. It has the last word.
    """

    artifact: Path
    from_ratio: float
    weights: Path | None = None


@dataclass(frozen=True, slots=True)
class LotSettings:
    """Inspect a sample of a lot by an AQL plan, drawn by `seed`; `size` None: the inputs are the lot."""

    aql: float
    size: int | None = None
    level: Level = "II"
    severity: Severity = "normal"
    seed: int = 0


@dataclass(frozen=True, slots=True)
class InspectSettings:
    """What an inspection goes by; `batch`, `decoders` and `save_every_s` change its pace and not its result.

    By (line, station) `scales` are mm per pixel, the rules' elsewhere, and `thresholds` what the artifact's was edited
    to, its own elsewhere; a second artifact goes by its own. `against` says what is compared with, for people.
    """

    artifact: Path
    weights: Path | None = None
    second: SecondPass | None = None
    rules: ProductRules = DEFAULT_RULES
    scales: Mapping[tuple[str, str], float] = field(default_factory=dict)
    thresholds: Mapping[tuple[str, str], float] = field(default_factory=dict)
    lot: LotSettings | None = None
    against: str | None = None
    device: str = "cpu"
    engine: EngineName | Literal["auto"] = "auto"
    batch: int = 32
    decoders: int = min(4, os.cpu_count() or 1)
    save_every_s: float = 10.0
