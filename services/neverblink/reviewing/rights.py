"""Whose answers about which parts count, told before anything is published."""

from collections.abc import Sequence
from datetime import datetime

from neverblink.plant import Reviewing
from neverblink.reviewing.answers import ReviewError


def refused(rules: Reviewing, reviewer: str, line: str, now: datetime) -> ReviewError | None:
    """Return why a reviewer's answers about a line's parts would not count, None when they do."""
    if rules.counts(reviewer, line, now):
        return None
    known = rules.reviewer(reviewer)
    if known is None:
        return ReviewError(
            f"{reviewer} is not among records.reviewing.reviewers of the plant file, whose answers alone count: name"
            " yourself with --by as the list does, or have yourself put on it",
            "refused",
            "unlisted",
        )
    if known.until is not None and known.until <= now:
        sentence = f"answers of {reviewer} no longer count since {known.until:%Y-%m-%d %H:%M %Z}"
        return ReviewError(sentence, "refused", "over")
    sentence = f"{reviewer} judges parts of {', '.join(known.lines)} alone, and not of {line}"
    return ReviewError(sentence, "refused", "elsewhere")


def raise_all(faults: Sequence[ReviewError]) -> None:
    """Raise ReviewError with the first of these sentences, if there are any."""
    if not faults:
        return
    if len(faults) == 1:
        raise faults[0]
    more = f"; and {len(faults) - 5} more" if len(faults) > 5 else ""
    raise ReviewError(f"{'; '.join(map(str, faults[:5]))}{more}. Nothing was sent")
