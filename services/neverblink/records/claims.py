"""Who holds a verdict: claims in the order of their partition, decided alike by whoever reads them."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

LONGEST = timedelta(hours=4)
"""A claim ends after so long at the latest, whatever it says: nobody takes a part out of the queue for good."""
AHEAD = timedelta(minutes=1)
"""A claim that begins later than this after now comes from a wrong clock, and holds nothing."""


@dataclass(frozen=True, slots=True)
class ClaimFacts:
    """What of a claim its verdict's holder depends on."""

    id: str
    verdict: str
    reviewer: str
    at: datetime
    until: datetime
    released: bool = False


def holders(claims: Iterable[ClaimFacts], now: datetime) -> dict[str, ClaimFacts]:
    """Return the claim that holds each verdict now. `claims` are in the order of their partition.

    The first stands until it ends or its reviewer puts the verdict back; a claim by another reviewer meanwhile is void,
    even after the first has ended. The holder's own later claims prolong it.
    """
    held: dict[str, ClaimFacts] = {}
    for claim in claims:
        if claim.at > now + AHEAD:
            continue
        before = held.get(claim.verdict)
        stands = before is not None and before.reviewer != claim.reviewer and claim.at < before.until
        if stands:
            continue
        if claim.released:
            held.pop(claim.verdict, None)
        else:
            held[claim.verdict] = replace(claim, until=min(claim.until, claim.at + LONGEST))
    return {verdict: claim for verdict, claim in held.items() if now < claim.until}
