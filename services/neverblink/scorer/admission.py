"""Whether a model may act where the plant demands its golden set: by a report in the store, or by what is remembered.

A scorer judges nothing itself. What it was once told it keeps beside its models, so that it starts, and rolls back,
while the store is away.
"""

import hashlib
from dataclasses import astuple, replace
from datetime import datetime
from pathlib import Path

import orjson

from neverblink import telemetry
from neverblink.model_registry.golden_gate import GoldenGate
from neverblink.model_registry.golden_set import GoldenError, GoldenSet, as_file, parsed
from neverblink.model_registry.qualifications import QualificationError, Question, Reports
from neverblink.plant import Plant
from neverblink.storage.whole_file import write_whole

_MOST = 500
"""What is remembered at most, some 100 bytes each; the oldest go."""


class Admission:
    """Lets models act, or says why not. It blocks, and belongs to the thread that loads."""

    def __init__(self, plant: Plant) -> None:
        """Raises PlantError when no installed package knows the store of the reports."""
        self._settings = plant.proof.golden
        self._gate = GoldenGate(plant)
        self._folder = plant.storage.model_cache / "qualified"
        self._log = telemetry.logger("scorer")

    def demands(self, product: str) -> bool:
        """Say whether nothing may act on a product without a passing report."""
        return self._settings.demands(product)

    def check(
        self, product: str, artifact: str, name: str, edited: float | None, *, acting_since: datetime | None = None
    ) -> None:
        """Raise QualificationError unless a passing report is there of the artifact of that digest, called `name`.

        At a start, when there is nothing to keep, `acting_since` says since when it scores: then a report counts of the
        golden set as it was at that time, so that who adds a picture stops no line.
        """
        if not self.demands(product):
            return
        golden = self._golden(product)
        question = self._gate.question(product, artifact, edited, golden)
        reports = self._gate.reports(artifact)
        if self._gate.passing(question, reports) is not None:
            self._remember(question)
            return
        if self._known(question).is_file():
            # A share that is not mounted is an empty folder, and no error: what was seen once stays true.
            away = "; ".join(reports.faults) or "it is in no store now"
            self._log.warning(f"{name} goes by a report of {product}'s golden set that was seen before: {away}")
            return
        if acting_since is not None and self._passed_then(question, reports, golden, acting_since):
            self._log.warning(
                f"{name} scores {product} by a report of its golden set before the last changes of that:"
                " `neverblink qualify` judges it by what came since"
            )
            return
        raise QualificationError(
            f"{name} ({artifact[:19]}…) must not score {product}, and the plant demands its golden set:"
            f" {self._gate.refusal(question, reports)}"
        )

    def _passed_then(self, question: Question, reports: Reports, golden: GoldenSet, since: datetime) -> bool:
        return any(
            self._gate.passing(replace(question, golden=earlier.digest), reports) is not None
            for earlier in golden.earlier
            if since < earlier.until
        )

    def _golden(self, product: str) -> GoldenSet:
        """Return the set as it is, or as it was seen last where nobody can ask. Raises QualificationError."""
        copy = self._folder / f"{product}.golden.json"
        try:
            found = self._gate.golden(product)
            if not found.parts:
                raise GoldenError(f"the golden set of {product} is empty, or not there: {self._settings.sets[product]}")
        except GoldenError as error:
            try:
                seen = parsed(copy.read_bytes(), product, str(copy))
            except (OSError, GoldenError):
                raise QualificationError(f"the plant demands the golden set of {product}, and {error}") from error
            self._log.warning(f"the golden set of {product} is taken as it was seen last: {error}")
            return seen
        self._keep(copy, as_file(found))
        return found

    def _remember(self, question: Question) -> None:
        if not self._known(question).is_file():
            self._keep(self._known(question), orjson.dumps(astuple(question)))
            for old in sorted(self._folder.glob("report-*.json"), key=lambda one: one.stat().st_mtime)[:-_MOST]:
                old.unlink(missing_ok=True)

    def _known(self, question: Question) -> Path:
        says = orjson.dumps([*astuple(question), self._settings.good_rejected])
        return self._folder / f"report-{hashlib.sha256(says).hexdigest()}.json"

    def _keep(self, path: Path, content: bytes) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, content)
        except OSError as error:
            # Only a start without the store would miss it.
            self._log.warning(f"what is known of golden sets cannot be kept in {self._folder}: {error}")
