"""The machine as an appraiser: the verdicts that the line gave, or an artifact that judges the pictures now."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from neverblink.agreement.asking.sitting import picture_of
from neverblink.agreement.figures import Judged
from neverblink.agreement.study import MACHINES, AgreementError, References, Study, read_kept
from neverblink.decisions.judgement import judged
from neverblink.decisions.rules import DEFAULT_RULES, ProductRules
from neverblink.events import Decision
from neverblink.job_life.progress import Progress
from neverblink.storage.listing import files_in
from neverblink.storage.whole_file import write_whole
from neverblink.vision.decode import Image
from neverblink.vision.errors import NoNumberError

LINE = "the line's verdicts"
_BATCH = 8

Sight = tuple[str, float | None]
"""A decision in a verdict's words, and score / threshold where there is a score."""

Look = Callable[[Sequence[Image]], list[Sight]]


class MachineAnswers(BaseModel):
    """What an artifact decided about each part, by blind name, in each round."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str
    digest: str
    threshold: float
    rules: str
    rounds: tuple[dict[str, str], ...] = Field(min_length=1)
    ratios: dict[str, float | None]


def of_the_line(study: Study, references: References) -> Judged | None:
    """Return what the line decided about the parts when they passed it, None where not all of them did.

    A part that could not be scored was not passed: at the gate it is a reject.
    """
    known = [references.parts[part.id].decision for part in study.parts]
    if any(one is None for one in known):
        return None
    return Judged(LINE, np.array([[one != Decision.PASS] for one in known]), is_machine=True)


def machines_of(folder: Path, study: Study) -> list[Judged]:
    """Return what artifacts have decided that were asked. Raises AgreementError."""
    place = folder / MACHINES
    found = []
    for path in files_in(place, {".json"}) if place.is_dir() else []:
        kept = read_kept(path, MachineAnswers, "neverblink msa machine writes it")
        if any(part.id not in round_ for round_ in kept.rounds for part in study.parts):
            raise AgreementError(f"{path} does not judge every part of this study: delete it and ask the machine again")
        decisions = [[round_[part.id] != Decision.PASS for round_ in kept.rounds] for part in study.parts]
        found.append(Judged(kept.name, np.array(decisions), is_machine=True))
    return found


def ask_machine(
    folder: Path, study: Study, described: MachineAnswers, look: Look, progress: Progress = lambda *_: None
) -> MachineAnswers:
    """Have a machine judge every part in every round, and keep what it says beside the study.

    `described` says whose answers these are. Raises AgreementError, UnwritableError.
    """
    rounds: list[dict[str, str]] = []
    ratios: dict[str, float | None] = {}
    total = study.rounds * len(study.parts)
    for number in range(1, study.rounds + 1):
        order = study.order(described.name, number)
        decided: dict[str, str] = {}
        for begin in range(0, len(order), _BATCH):
            some = order[begin : begin + _BATCH]
            for part, (decision, ratio) in zip(some, look([picture_of(folder, one) for one in some]), strict=True):
                decided[part.id], ratios[part.id] = decision, ratio
            progress("judging", (number - 1) * len(order) + begin + len(some), total)
        rounds.append(decided)
    kept = described.model_copy(update={"rounds": tuple(rounds), "ratios": ratios})
    name = kept.digest.removeprefix("sha256:")[:16]
    write_whole(folder / MACHINES / f"{name}.json", kept.model_dump_json(indent=1).encode() + b"\n")
    return kept


def artifact_sight(
    path: Path, rules: ProductRules = DEFAULT_RULES, *, threshold: float | None = None, weights: Path | None = None
) -> tuple[MachineAnswers, Look]:
    """Return whose answers an artifact's are, and what judges as a scorer does.

    `threshold` stands for one that people edited. Raises VisionError.
    """
    from neverblink.vision.alignment.aligner import NotFoundError
    from neverblink.vision.artifact import load_artifact
    from neverblink.vision.inspector import Inspector, extractor_of, inspect_defects

    artifact = load_artifact(path)
    extractor = extractor_of(artifact, weights=weights, device="cpu", engine="auto")
    inspector = Inspector(
        artifact, extractor, device="cpu", segment_from=rules.segment_from, min_area_px=rules.min_area_px
    )
    if threshold is not None:
        inspector = inspector.with_threshold(threshold)
    calibration = artifact.manifest.calibration

    def look(images: Sequence[Image]) -> list[Sight]:
        found: list[Sight] = []
        for image in images:
            try:
                (inspection,) = inspect_defects([(inspector, image)])
                said = judged(inspection, calibration, rules, mm_per_px=rules.mm_per_px, edited=threshold)
            except (NoNumberError, NotFoundError):
                found.append(("unscored", None))
            else:
                found.append((said.decision.value, said.ratio))
        return found

    described = MachineAnswers(
        name=f"{artifact.name} {artifact.version}",
        digest=artifact.digest,
        threshold=calibration.threshold if threshold is None else threshold,
        rules=rules.title,
        rounds=({},),
        ratios={},
    )
    return described, look
