"""What people told Kafka lately: the ledger may not have it yet, and a reviewer must not be asked what was answered."""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from neverblink.events import Claim, Review
from neverblink.kafka.topic_span import events_since
from neverblink.plant import Kafka, Reviewing
from neverblink.records.claims import LONGEST, ClaimFacts, holders
from neverblink.records.review_state import ReviewFacts

CLIENT = "neverblink-review"
"""How reviewers' programs are known to the broker."""

BACK = LONGEST + timedelta(minutes=5)
"""So far back the topics are read: while a claim can hold, and a little for clocks that differ."""


@dataclass(frozen=True, slots=True)
class Recent:
    """Claims that may still hold, each partition's in its order, and the answers of the same time."""

    claims: tuple[Claim, ...]
    reviews: Mapping[str, tuple[Review, ...]]
    """By verdict."""

    def held(self, now: datetime) -> Mapping[str, ClaimFacts]:
        """Return the claim that holds each verdict."""
        return holders(map(claim_facts, self.claims), now)

    def answers(self, verdict: str, kept: Iterable[ReviewFacts], rules: Reviewing) -> list[ReviewFacts]:
        """Return what was answered about a verdict: what the ledger has kept, and what it has not yet."""
        known = {one.id: one for one in kept}
        for review in self.reviews.get(verdict, ()):
            if review.id not in known:
                known[review.id] = review_facts(review, rules)
        return list(known.values())


async def recent(kafka: Kafka, keys: Sequence[str], now: datetime) -> Recent:
    """Read what was told about these stations (`line/station`) while a claim can hold. Raises KafkaError."""
    since = now - BACK
    claims, reviews = await asyncio.gather(
        events_since(kafka, Claim, keys, since, client_id=CLIENT),
        events_since(kafka, Review, keys, since, client_id=CLIENT),
    )
    by_verdict: defaultdict[str, list[Review]] = defaultdict(list)
    for review in reviews:
        by_verdict[review.verdict].append(review)
    return Recent(tuple(claims), {verdict: tuple(found) for verdict, found in by_verdict.items()})


async def claims_now(kafka: Kafka, key: str, now: datetime) -> tuple[Claim, ...]:
    """Read the claims of one station to the topic's end. Raises KafkaError."""
    return tuple(await events_since(kafka, Claim, [key], now - BACK, client_id=CLIENT))


def claim_facts(claim: Claim) -> ClaimFacts:
    """Return what of a claim its verdict's holder depends on."""
    return ClaimFacts(claim.id, claim.verdict, claim.reviewer, claim.at, claim.until, claim.released)


def review_facts(review: Review, rules: Reviewing) -> ReviewFacts:
    """Return what of an answer its verdict's state depends on."""
    return ReviewFacts(
        review.id, review.reviewer, review.judgement, review.at, review.withdrawn, review.round,
        rules.counts(review.reviewer, review.line, review.at),
    )  # fmt: skip
