"""Ten weeks of a line whose truth is known, as the counts that the records would hold of them."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from neverblink.records.questions.proof.samples import Drawn, Sample, Stratum


@dataclass(frozen=True, slots=True)
class Week:
    """How a week runs. Shares of parts, unless said otherwise.

    `found` of the defective parts are rejected, and `doubted` of those that pass are unsure; `answered` of the drawn
    parts are judged by people, who leave `undecided` of them open.
    """

    parts: int = 100_000
    defective: float = 0.01
    found: float = 0.9
    false_rejects: float = 0.01
    held_out: float = 0.01
    audited: float = 1.0
    doubted: float = 0.3
    doubted_good: float = 0.001
    answered: float = 0.95
    undecided: float = 0.02


CALM = (Week(),) * 10
CHANGING = (
    *(Week(),) * 3,
    *(Week(held_out=0.02),) * 2,
    Week(defective=0.03, found=0.75, held_out=0.02),
    Week(defective=0.03, found=0.75, held_out=0.02, false_rejects=0.004),
    *(Week(false_rejects=0.004, held_out=0.02),) * 3,
)
FEW = (Week(parts=5_000, defective=0.03, found=0.8, held_out=0.02, audited=0.5),) * 10
PLANTS = {"calm": CALM, "changing": CHANGING, "few": FEW}


class Truth(NamedTuple):
    """What is true of the parts that were made."""

    recall: float
    precision: float
    false_rejects: float
    escapes: float


class Run(NamedTuple):
    """A period's sample and truth; `naive` is what all judged parts say when nobody minds how they were drawn."""

    sample: Sample
    truth: Truth
    expected: Truth
    naive: Truth


def run(weeks: tuple[Week, ...], seed: int) -> Run:
    """Return ten weeks as they come about with this seed."""
    rng = np.random.default_rng(seed)
    rejects: dict[float, Drawn] = {}
    sure: dict[float, Drawn] = {}
    held_unsure: dict[float, Drawn] = {}
    all_unsure = Drawn(1.0)
    made = np.zeros(4)
    expected = np.zeros(4)
    pools = {"rejects": 0, "sure": 0, "unsure": 0}
    for week in weeks:
        cells = _cells(week)
        caught, lost_sure, lost_unsure, clean, good_sure, good_unsure = rng.multinomial(week.parts, cells)
        made += (caught, lost_sure + lost_unsure, clean, good_sure + good_unsure)
        expected += week.parts * np.array([cells[0], cells[1] + cells[2], cells[3], cells[4] + cells[5]])
        for name, pair in (
            ("rejects", (caught, clean)), ("sure", (lost_sure, good_sure)), ("unsure", (lost_unsure, good_unsure))
        ):  # fmt: skip
            pools[name] += sum(pair)
        judged = 1 - (1 - week.audited) * (1 - week.held_out)
        _add(rejects, _drawn(rng, week, judged, caught, clean))
        _add(sure, _drawn(rng, week, week.held_out, lost_sure, good_sure))
        everyone = _drawn(rng, week, 1.0, lost_unsure, good_unsure)
        all_unsure = _sum(all_unsure, everyone)
        _add(held_unsure, _thinned(rng, week.held_out, everyone))
    sample = Sample(
        parts=sum(pools.values()),
        unscored=0,
        passes=Stratum(pools["sure"], tuple(sure.values())),
        unsure=Stratum(pools["unsure"], (all_unsure,)),
        unsure_holdouts=tuple(held_unsure.values()),
        rejects=Stratum(pools["rejects"], tuple(rejects.values())),
    )
    passes = [*sure.values(), all_unsure]
    naive = _truth(
        sum(one.defective for one in rejects.values()), sum(one.defective for one in passes),
        sum(one.good for one in rejects.values()), sum(one.good for one in passes),
    )  # fmt: skip
    return Run(sample, _truth(*made), _truth(*expected), naive)


def _cells(week: Week) -> tuple[float, ...]:
    lost, good = week.defective * (1 - week.found), 1 - week.defective
    passed = good * (1 - week.false_rejects)
    return (
        week.defective * week.found, lost * (1 - week.doubted), lost * week.doubted, good * week.false_rejects,
        passed * (1 - week.doubted_good), passed * week.doubted_good,
    )  # fmt: skip


def _truth(caught: float, lost: float, clean: float, good: float) -> Truth:
    return Truth(
        caught / (caught + lost) if caught + lost else float("nan"),
        caught / (caught + clean) if caught + clean else float("nan"),
        clean / (clean + good) if clean + good else float("nan"),
        lost / (lost + good) if lost + good else float("nan"),
    )


def _drawn(rng: np.random.Generator, week: Week, share: float, defective: int, good: int) -> Drawn:
    kinds = [_answers(rng, week, int(rng.binomial(count, share))) for count in (defective, good)]
    (bad, bad_open, bad_waits), (fine, fine_open, fine_waits) = kinds
    return Drawn(share, bad, fine, bad_open + fine_open, bad_waits + fine_waits)


def _answers(rng: np.random.Generator, week: Week, drawn: int) -> tuple[int, int, int]:
    decided = week.answered * (1 - week.undecided)
    counts = rng.multinomial(drawn, [decided, week.answered * week.undecided, 1 - week.answered])
    return int(counts[0]), int(counts[1]), int(counts[2])


def _thinned(rng: np.random.Generator, share: float, all_of: Drawn) -> Drawn:
    names = ("defective", "good", "undecided", "waiting")
    return Drawn(share, *(int(rng.binomial(getattr(all_of, name), share)) for name in names))


def _sum(one: Drawn, other: Drawn) -> Drawn:
    names = ("defective", "good", "undecided", "waiting")
    return Drawn(one.share, *(getattr(one, name) + getattr(other, name) for name in names))


def _add(groups: dict[float, Drawn], more: Drawn) -> None:
    groups[more.share] = _sum(groups[more.share], more) if more.share in groups else more
