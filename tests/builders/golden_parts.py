"""Golden sets and reports of them: drawn ones that a model judges, and listed ones for what only asks."""

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from neverblink.events import ArtifactRef, QualificationRef, Slot
from neverblink.model_registry.golden_gate import Judged
from neverblink.model_registry.golden_set import GOLDEN, GoldenPart, GoldenPlace, GoldenSet, as_file
from neverblink.model_registry.qualifications import JudgedPart, Qualification, QualificationStore
from neverblink.plant import GoldenSettings, Plant, rules_digest
from neverblink.qualification.golden_pictures import Answer, Editor, add
from neverblink.vision.artifact import read_manifest
from rigs.scored_line import png, striped

JUDGED = datetime(2026, 1, 2, tzinfo=UTC)
EDITOR = Editor("r.lindqvist", "known parts", JUDGED)


def with_golden(plant: Plant, folder: Path, *, demanded: bool = False, good_rejected: int | None = 0) -> Plant:
    """Return a plant whose first product has a golden set in a folder."""
    settings = GoldenSettings(
        sets={plant.products[0].name: str(folder)}, demanded=demanded, good_rejected=good_rejected
    )
    return plant.model_copy(update={"proof": plant.proof.model_copy(update={"golden": settings})})


def add_striped(plant: Plant, pictures: Path, *, good: int = 3, blots: int = 3) -> None:
    """Put good and blotted striped parts into the plant's golden set, drawn in the folder `pictures`."""
    pictures.mkdir()
    for defect, numbers in ((False, range(good)), (True, range(100, 100 + blots))):
        paths = [pictures / f"{'blot' if defect else 'good'}-{number}.png" for number in numbers]
        for path, number in zip(paths, numbers, strict=True):
            path.write_bytes(png(striped(number, defect=defect)))
        add(plant, plant.products[0].name, paths, Answer("blot" if defect else None), EDITOR)


def list_parts(plant: Plant, *names: str, until: datetime = JUDGED) -> GoldenSet:
    """Let the plant's golden set list parts without pictures: `good/NAME` and `defects/TYPE/NAME`."""
    product = plant.products[0].name
    place = GoldenPlace.of(plant, product)
    parts = tuple(
        GoldenPart(
            picture=name,
            sha256=f"sha256:{hashlib.sha256(name.encode()).hexdigest()}",
            type=None if name.startswith("good/") else name.split("/")[1],
        )
        for name in names
    )
    found = place.read().changed(parts, EDITOR.by, EDITOR.why, until)
    place.put(GOLDEN, as_file(found))
    return found


def slot_of(plant: Plant, name: str, threshold: float | None = None) -> Slot:
    """Return an artifact under storage.artifacts as a slot names it."""
    manifest, digest = read_manifest(plant.storage.artifacts / name)
    return Slot(
        artifact=ArtifactRef(name=manifest.name, version=manifest.version, digest=digest),
        location=name,
        threshold=threshold,
    )


def report_of(plant: Plant, slot: Slot, *missed: str, at: datetime = JUDGED) -> Qualification:
    """Return a report of a model about the golden set as it is, in which it passes the defects that are `missed`."""
    product = plant.products[0].name
    golden = GoldenPlace.of(plant, product).read()
    parts = []
    for part in golden.parts:
        passes = part.type is None or part.picture in missed
        fault = f"{part.type} passes" if part.picture in missed else None
        decision = "pass" if passes else "reject"
        parts.append(JudgedPart(picture=part.picture, type=part.type, decision=decision, fault=fault))  # type: ignore[arg-type]
    return Qualification(
        product=product,
        artifact=slot.artifact,
        threshold=slot.threshold or 2.5,
        edited=slot.threshold,
        rules=rules_digest(plant, product),
        golden=golden.digest,
        at=at,
        by="test",
        judged_on="paper",
        parts=tuple(parts),
    )


def keep(plant: Plant, report: Qualification) -> QualificationRef:
    """Put a report into the plant's store."""
    ref, _ = QualificationStore(plant.storage).put(report)
    return ref


def judge_that_misses(plant: Plant, *missed: str, asked: list[Slot] | None = None) -> Callable[[str, Slot], Judged]:
    """Return a judge without a model: every model misses these parts of the golden set. It notes what it is `asked`."""

    def judge(_: str, slot: Slot) -> Judged:
        if asked is not None:
            asked.append(slot)
        report = report_of(plant, slot, *missed)
        ref, page = QualificationStore(plant.storage).put(report)
        return Judged(report, ref, page)

    return judge
