"""What an offline inspection says of a part in its trace: that its frame was judged once more."""

from neverblink import telemetry
from neverblink.trainer.datasets.inputs import Input
from neverblink.trainer.offline_inspection.rows import Row


def judged_again(item: Input, row: Row, began: int) -> None:
    """Record that a frame was judged again, with others from `began` in ns until now; of a picture nothing is told."""
    if item.trace is None or not telemetry.is_traced():
        return
    attributes = {
        "neverblink.line": item.origin.line or "",
        "neverblink.station": item.origin.station or "",
        "neverblink.part": item.origin.part,
        "neverblink.cause": "inspection",
        "neverblink.decision": row.verdict.decision,
    }
    context = telemetry.context_of(item.trace, item.origin.part)
    telemetry.tracer("trainer").start_span("judge again", context, attributes=attributes, start_time=began).end()
