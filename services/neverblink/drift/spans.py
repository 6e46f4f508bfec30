"""What the drift service says of a part in its trace: that its verdict was taken."""

from collections.abc import Mapping

from neverblink import telemetry
from neverblink.events import Verdict
from neverblink.kafka import Record
from neverblink.kafka.spans import Reader, begin_processing


def taken(record: Record, verdict: Verdict, trace: Mapping[str, str], reader: Reader) -> None:
    """Record that a verdict was taken, into the batch that is counted next. For a process that is traced."""
    context = telemetry.context_of(trace, verdict.part)
    begin_processing(record, context, message=verdict.id, reader=reader).end()
