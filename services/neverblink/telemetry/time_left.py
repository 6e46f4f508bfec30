"""What was left of a part's time at some stage of its way, alike at every stage."""

from collections.abc import Mapping

from opentelemetry.context import Context
from opentelemetry.metrics import Histogram


def record_time_left(
    left_s: float,
    slack: Histogram,
    overdue: Histogram | None,
    about: Mapping[str, str],
    trace: Context | None = None,
) -> None:
    """Record the seconds to a part's deadline; `trace` is the part's, for an exemplar.

    A histogram takes no negative amount, and would drop just the parts that are to be seen: a late one counts as 0 in
    the slack, and beside it, where a stage says so, how late it was.
    """
    slack.record(max(0.0, left_s), about, trace)
    if left_s < 0 and overdue is not None:
        overdue.record(-left_s, about, trace)
