"""The tables of parts: what became of each, what is counted of them, and what is kept beside them."""

from datetime import datetime
from typing import Any

from sqlalchemy import Index, PrimaryKeyConstraint, String, false, text, true
from sqlalchemy.orm import Mapped, mapped_column

from neverblink.records.columns import ROW_NUMBER, IdentityColumns, Table, TraceColumn

NOT_PASSED = "decision <> 'pass'"
HOLDOUT = "holdout"
CHALLENGE = "challenge"
"""A question that finds few parts says it in these words: then an index of those alone is read."""


JUDGED = "judgement IS NOT NULL"
AUDITED = "audit_share IS NOT NULL"


def _of_the_few(name: str, which: str, *columns: str, read: tuple[str, ...] = ()) -> Index:
    """Return an index of the few parts that are so, in the order of time; `read` is answered from the index alone."""
    return Index(name, *columns, "triggered", "id", *read, sqlite_where=text(which), postgresql_where=text(which))


_NARROWED = ("product", "lot", "shift")
_WEIGHED = ("decision", "challenge", "unsure", "holdout", "holdout_share", "audited", "audit_share")
"""What proof asks of a part. Months of a line have tens of thousands that people judged: none of their rows is read."""


class PartRow(IdentityColumns, TraceColumn, Table):
    """One part: everything that its stations, the PLC, its gate and people said of it, as known now.

    `opened` and `closed` are the ends of the time that its events cover: events of the same name that lie apart
    are another part. `decision` is null while no verdict is known, `product` too. `partly_judged`: people judged it,
    but not yet each verdict of it that waits for them. Read newest first by (triggered, id), or along the ledger's
    work by `revision`: whoever changes a part gives it the next one, see `records.revisions`.
    """

    __tablename__ = "parts"
    __table_args__ = (
        Index("parts_triggered", "triggered", "id"),
        Index("parts_line_triggered", "line", "triggered", "id"),
        Index("parts_product_triggered", "product", "triggered", "id"),
        _of_the_few("parts_decision_triggered", NOT_PASSED, "decision"),
        _of_the_few("parts_line_decision", NOT_PASSED, "line", "decision"),
        _of_the_few("parts_line_holdout", HOLDOUT, "line", read=(*_WEIGHED, *_NARROWED)),
        _of_the_few(
            "parts_line_challenge", CHALLENGE, "line", read=("challenge", "reference", "decision", "unsure", *_NARROWED)
        ),
        _of_the_few("parts_line_judged", JUDGED, "line", read=("judgement", "partly_judged", *_WEIGHED, *_NARROWED)),
        _of_the_few("parts_line_audited", AUDITED, "line", read=(*_WEIGHED, *_NARROWED)),
        _of_the_few("parts_product_decision", NOT_PASSED, "product", "decision"),
        _of_the_few("parts_reason_triggered", "reason IS NOT NULL", "reason"),
        Index("parts_lot_triggered", "lot", "triggered"),
        Index("parts_order_triggered", "order_no", "triggered"),
        Index("parts_carrier_triggered", "carrier", "triggered"),
        _of_the_few("parts_judgement_triggered", JUDGED, "judgement"),
        Index("parts_revision", "revision"),
        Index("parts_serial", "serial"),
        Index("parts_tracking", "line", "epoch", "number"),
        Index("parts_line_part", "line", "part"),
        # A number is never given twice: a page that was read up to one must not meet it again.
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(ROW_NUMBER, primary_key=True, autoincrement=True)
    line: Mapped[str] = mapped_column(String(64))
    product: Mapped[str | None] = mapped_column(String(64))
    epoch: Mapped[int | None]
    number: Mapped[int | None]
    part: Mapped[str | None]
    triggered: Mapped[datetime]
    opened: Mapped[datetime]
    closed: Mapped[datetime]
    shift: Mapped[str]
    decision: Mapped[str | None] = mapped_column(String(16))
    reason: Mapped[str | None]
    late: Mapped[bool]
    unsure: Mapped[bool]
    holdout: Mapped[bool]
    challenge: Mapped[bool]
    holdout_share: Mapped[float | None]
    reference: Mapped[str | None] = mapped_column(String(64))
    audit_share: Mapped[float | None]
    audited: Mapped[bool] = mapped_column(server_default=true())
    ratio: Mapped[float | None]
    stations: Mapped[int]
    artifact_digest: Mapped[str | None]
    told_outcome: Mapped[str | None] = mapped_column(String(16))
    told_at: Mapped[datetime | None]
    told_code: Mapped[int | None]
    slack_ms: Mapped[float | None]
    trigger_to_told_ms: Mapped[float | None]
    gate: Mapped[str | None] = mapped_column(String(16))
    gate_at: Mapped[datetime | None]
    incident: Mapped[bool]
    judgement: Mapped[str | None] = mapped_column(String(16))
    partly_judged: Mapped[bool] = mapped_column(server_default=false())
    reviewed_at: Mapped[datetime | None]
    changed: Mapped[datetime]
    revision: Mapped[int] = mapped_column(server_default="0")


class PartDefectRow(Table):
    """A type of defect that some station saw on a part: one row a type. `triggered` is the part's."""

    __tablename__ = "part_defects"
    __table_args__ = (
        PrimaryKeyConstraint("type", "triggered", "part_id"),
        Index("part_defects_part_id", "part_id"),
        {"sqlite_with_rowid": False},
    )

    type: Mapped[str]
    triggered: Mapped[datetime]
    part_id: Mapped[int]


class LastRevisionRow(Table):
    """The last revision that was given to a part: one row, whose lock keeps revisions in the order of commits."""

    __tablename__ = "last_revision"

    id: Mapped[int] = mapped_column(ROW_NUMBER, primary_key=True, autoincrement=False)
    revision: Mapped[int]


class _RollupKey:
    """What a count is of. `station` is '' for the part as a whole, the others where nothing is known."""

    hour: Mapped[datetime] = mapped_column(primary_key=True)
    shift: Mapped[str] = mapped_column(primary_key=True)
    line: Mapped[str] = mapped_column(primary_key=True)
    station: Mapped[str] = mapped_column(primary_key=True)
    product: Mapped[str] = mapped_column(primary_key=True)
    artifact_digest: Mapped[str] = mapped_column(primary_key=True)
    lot: Mapped[str] = mapped_column(primary_key=True)


class RollupRow(_RollupKey, Table):
    """Counts of the parts that were triggered in one hour (UTC).

    `passes_judged` and `rejects_judged` are those that people found normal or defective: the samples of which
    `escapes` and `false_rejects` are shares.
    """

    __tablename__ = "rollups"
    __table_args__ = (
        Index("rollups_line_hour", "line", "hour"),
        # Whether a line has such parts, and when: read alone, without the rows.
        Index("rollups_place", "line", "station", "product", "hour"),
    )

    parts: Mapped[int]
    passed: Mapped[int]
    rejected: Mapped[int]
    unscored: Mapped[int]
    late: Mapped[int]
    unsure: Mapped[int]
    holdouts: Mapped[int]
    challenges: Mapped[int]
    told_confirmed: Mapped[int]
    told_late: Mapped[int]
    told_unknown: Mapped[int]
    told_failed: Mapped[int]
    gate_passed: Mapped[int]
    gate_rejected: Mapped[int]
    gate_fail_safe: Mapped[int]
    gate_stale: Mapped[int]
    gate_confirm_fail: Mapped[int]
    escaped: Mapped[int]
    lost: Mapped[int]
    reviewed: Mapped[int]
    judged_normal: Mapped[int]
    judged_defect: Mapped[int]
    judged_inconclusive: Mapped[int]
    false_rejects: Mapped[int]
    escapes: Mapped[int]
    passes_judged: Mapped[int]
    rejects_judged: Mapped[int]


class WordRollupRow(_RollupKey, Table):
    """How often a word was said of the parts of one hour: the reason of a decision, or the type of a defect."""

    __tablename__ = "word_rollups"
    __table_args__ = (
        PrimaryKeyConstraint(
            "hour", "shift", "line", "station", "product", "artifact_digest", "lot", "kind", "decision", "word"
        ),
        Index("word_rollups_line_hour", "line", "hour"),
    )

    kind: Mapped[str] = mapped_column(String(16), primary_key=True)
    decision: Mapped[str] = mapped_column(String(16), primary_key=True)
    word: Mapped[str] = mapped_column(primary_key=True)
    count: Mapped[int]


class EvidenceFileRow(Table):
    """One picture in the evidence store, found by its digest. `deleted` says since when it is no longer there."""

    __tablename__ = "evidence_files"
    __table_args__ = (
        Index("evidence_files_verdict", "verdict_id"),
        Index("evidence_files_captured", "deleted", "captured"),
        Index("evidence_files_digest", "digest"),
    )

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    frame_id: Mapped[str]
    verdict_id: Mapped[str]
    line: Mapped[str]
    station: Mapped[str]
    product: Mapped[str]
    kind: Mapped[str] = mapped_column(String(16))
    digest: Mapped[str]
    bytes: Mapped[int]
    content_type: Mapped[str]
    why: Mapped[str]
    captured: Mapped[datetime]
    kept: Mapped[datetime]
    deleted: Mapped[datetime | None]


class EvidenceWantedRow(Table):
    """A frame that shall be kept and is not yet; `lost` says in a word why it cannot be had any more.

    `urgency` is 0 for what a person should look at, 1 for the rest; the place is where the frames topic holds it.
    """

    __tablename__ = "evidence_wanted"
    __table_args__ = (
        Index("evidence_wanted_next", "lost", "line", "urgency", "captured"),
        Index("evidence_wanted_verdict", "verdict_id"),
    )

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    frame_id: Mapped[str]
    verdict_id: Mapped[str]
    line: Mapped[str]
    station: Mapped[str]
    product: Mapped[str]
    why: Mapped[str]
    urgency: Mapped[int]
    captured: Mapped[datetime]
    frame_partition: Mapped[int | None]
    frame_offset: Mapped[int | None]
    lost: Mapped[str | None]


class ClaimRow(Table):
    """A reviewer has taken a verdict to answer it, until an instant at the latest; see `records.claims`.

    `place` is the order in which claims came: that of their partition for all claims of one verdict.
    """

    __tablename__ = "claims"
    __table_args__ = (
        Index("claims_id", "id", unique=True),
        Index("claims_verdict", "verdict", "place"),
        Index("claims_until", "until"),
        {"sqlite_autoincrement": True},
    )

    place: Mapped[int] = mapped_column(ROW_NUMBER, primary_key=True, autoincrement=True)
    id: Mapped[str] = mapped_column(String(64))
    verdict: Mapped[str]
    line: Mapped[str]
    station: Mapped[str]
    reviewer: Mapped[str]
    at: Mapped[datetime]
    until: Mapped[datetime]
    released: Mapped[bool]
    recorded: Mapped[datetime]


class ReviewQueueRow(Table):
    """A verdict that waits for a person, and why; it is gone once what it `wants` (first, second, final) was answered.

    `answered_by` holds the reviewers whose answers count so far, each between two line ends: none is asked twice.
    """

    __tablename__ = "review_queue"
    __table_args__ = (
        Index("review_queue_verdict", "verdict_id", unique=True),
        Index("review_queue_waiting", "severity", "captured", "place"),
        Index("review_queue_line", "line", "severity", "captured", "place"),
        Index("review_queue_station", "line", "station", "severity", "captured", "place"),
        Index("review_queue_line_product", "line", "product", "severity", "captured", "place"),
        Index("review_queue_product", "product", "severity", "captured", "place"),
        {"sqlite_autoincrement": True},
    )

    place: Mapped[int] = mapped_column(ROW_NUMBER, primary_key=True, autoincrement=True)
    verdict_id: Mapped[str] = mapped_column(String(64))
    line: Mapped[str] = mapped_column(String(64))
    station: Mapped[str] = mapped_column(String(64))
    product: Mapped[str] = mapped_column(String(64))
    captured: Mapped[datetime]
    severity: Mapped[int]
    wants: Mapped[str] = mapped_column(String(16))
    answered_by: Mapped[str]


class ContextRow(Table):
    """What somebody said is on a line, from an instant or from a part on; `context` is the whole event."""

    __tablename__ = "contexts"
    __table_args__ = (Index("contexts_line_at", "line", "at"),)

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    line: Mapped[str]
    context: Mapped[dict[str, Any]]
    valid_from: Mapped[datetime | None]
    valid_epoch: Mapped[int | None]
    valid_number: Mapped[int | None]
    by: Mapped[str]
    at: Mapped[datetime]
    recorded: Mapped[datetime]


class HoldRow(Table):
    """What people or a PLC said of a line: that it is on hold, in bypass or released from `at` on."""

    __tablename__ = "holds"
    __table_args__ = (Index("holds_line_at", "line", "at"),)

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    line: Mapped[str] = mapped_column(String(64))
    source: Mapped[str] = mapped_column(String(32))
    state: Mapped[str] = mapped_column(String(32))
    by: Mapped[str]
    why: Mapped[str | None]
    at: Mapped[datetime]
    recorded: Mapped[datetime]


class ModelChangeRow(Table):
    """A change of a station's models: the slots as they were put onto the topic, whose compaction forgets them."""

    __tablename__ = "model_changes"
    __table_args__ = (Index("model_changes_line_at", "line", "at"),)

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    line: Mapped[str] = mapped_column(String(64))
    station: Mapped[str] = mapped_column(String(64))
    product: Mapped[str] = mapped_column(String(64))
    active: Mapped[dict[str, Any] | None]
    shadow: Mapped[dict[str, Any] | None]
    by: Mapped[str]
    why: Mapped[str | None]
    at: Mapped[datetime]
    recorded: Mapped[datetime]


class ChallengeRow(Table):
    """Somebody said that a reference part comes to a line; without epoch and number it is the next from `at` on."""

    __tablename__ = "challenges"
    __table_args__ = (Index("challenges_line_expires", "line", "expires"),)

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    line: Mapped[str] = mapped_column(String(64))
    station: Mapped[str | None] = mapped_column(String(64))
    reference: Mapped[str] = mapped_column(String(64))
    by: Mapped[str]
    at: Mapped[datetime]
    expires: Mapped[datetime]
    epoch: Mapped[int | None]
    number: Mapped[int | None]
    recorded: Mapped[datetime]


class AlarmRow(Table):
    """One stage of an alarm. It is open while `alarm` has the stage raised and not cleared.

    `sent` is null for one that the ledger itself found and has not put onto the topic yet.
    """

    __tablename__ = "alarms"
    __table_args__ = (Index("alarms_alarm", "alarm"), Index("alarms_line_at", "line", "at"))

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    alarm: Mapped[str] = mapped_column(String(64))
    line: Mapped[str] = mapped_column(String(64))
    station: Mapped[str | None] = mapped_column(String(64))
    kind: Mapped[str] = mapped_column(String(64))
    stage: Mapped[str] = mapped_column(String(64))
    severity: Mapped[str] = mapped_column(String(64))
    since: Mapped[datetime]
    at: Mapped[datetime]
    subject: Mapped[dict[str, Any]]
    what: Mapped[str]
    cause: Mapped[str]
    next_step: Mapped[str]
    sent: Mapped[datetime | None]
    recorded: Mapped[datetime]


class LedgerStateRow(Table):
    """What the ledger remembers of its own work, by name."""

    __tablename__ = "ledger_state"

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    value: Mapped[dict[str, Any]]
    at: Mapped[datetime]
