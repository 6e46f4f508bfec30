"""What was decided about the same images before, and how a new inspection differs from it."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from neverblink.events import Decision, Verdict
from neverblink.kafka.topic_span import events_since
from neverblink.plant import Kafka
from neverblink.trainer.datasets.inputs import InspectionError

_COLUMNS = ("name", "decision", "reason", "ratio", "artifact_digest")


class Change(StrEnum):
    """How a decision differs from the known one; an image without a score was, and is, told as not good."""

    AGREE = "agree"
    NEWLY_REJECTED = "newly-rejected"
    NEWLY_PASSED = "newly-passed"
    NEWLY_SCORED = "newly-scored"
    NEWLY_UNSCORED = "newly-unscored"


@dataclass(frozen=True, slots=True)
class Known:
    """An earlier decision, and the digest of the artifact that made it."""

    decision: Decision
    reason: str | None
    ratio: float | None
    artifact_digest: str | None

    def as_record(self) -> dict[str, object]:
        """Return plain values, as a row keeps them."""
        return asdict(self) | {"decision": self.decision.value}


def change_from(known: Decision, now: Decision) -> Change:
    """Return how `now` differs from what was known."""
    if known is now:
        return Change.AGREE
    if known is Decision.UNSCORED:
        return Change.NEWLY_SCORED
    return {
        Decision.REJECT: Change.NEWLY_REJECTED,
        Decision.PASS: Change.NEWLY_PASSED,
        Decision.UNSCORED: Change.NEWLY_UNSCORED,
    }[now]


def known_from_file(path: Path) -> dict[str, Known]:
    """Return the decisions of an earlier inspection's Parquet file by image name. Raises InspectionError."""
    try:
        table = pq.read_table(path, columns=list(_COLUMNS))
    except (OSError, pa.ArrowInvalid, KeyError) as error:
        raise InspectionError(f"{path} cannot be read as an inspection's Parquet file: {error}") from error
    missing = [name for name in _COLUMNS if name not in table.column_names]
    if missing:
        raise InspectionError(f"{path} is no inspection's Parquet file: it has no column {', '.join(missing)}")
    return {
        row["name"]: Known(Decision(row["decision"]), row["reason"], row["ratio"], row["artifact_digest"])
        for row in table.to_pylist()
    }


def known_from_verdicts(kafka: Kafka, lines: Sequence[str], since: datetime) -> dict[str, Known]:
    """Return the verdicts of these lines by frame id, from an instant on to the topic's end.

    Of two verdicts about a frame the first one stands. Raises KafkaError.
    """
    return asyncio.run(_verdicts(kafka, lines, since))


async def _verdicts(kafka: Kafka, lines: Sequence[str], since: datetime) -> dict[str, Known]:
    found: dict[str, Known] = {}
    for verdict in await events_since(kafka, Verdict, lines, since, client_id="inspect-verdicts"):
        found.setdefault(verdict.frame_id, _known(verdict))
    return found


def _known(verdict: Verdict) -> Known:
    artifact = verdict.artifact
    return Known(verdict.decision, verdict.reason, verdict.ratio, None if artifact is None else artifact.digest)


def compared(known: Mapping[str, Known], name: str, now: Decision) -> tuple[dict[str, object], Change] | None:
    """Return a row's two columns on what was known of an image, None when nothing was."""
    before = known.get(name)
    return None if before is None else (before.as_record(), change_from(before.decision, now))
