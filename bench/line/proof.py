"""Do the intervals of recall, precision, false rejects and escapes hold the truth: ten weeks, known truth, many seeds.

`python -m bench.line.proof` draws ten weeks of each plant of `rigs.proof_weeks` with each seed: what is made, decided,
drawn, answered and left without an answer. It prints how often the 95 % intervals hold the share of the parts that were
made, and the rate that they were made with; how wide they are; how wide recall's would be from two ends put together
(97.5 % each); and how often the naive figure, all judged parts alike, lies in them.
"""

import argparse
from statistics import fmean

from neverblink.confidence.intervals import Interval, share_interval
from neverblink.records.questions.proof.estimates import estimates_of
from neverblink.records.questions.proof.samples import Sample
from rigs.proof_weeks import PLANTS, Run, Truth, run

_SPLIT = 0.975


def put_together(sample: Sample) -> Interval:
    """Return recall's interval from the ends of two intervals of 97.5 %: of the escapes' and of the precision's."""
    judged, held = sample.rejects.sample, sample.passes.sample
    p = share_interval(judged.defective, judged.answered, _SPLIT)
    e = share_interval(held.defective, held.answered, _SPLIT)
    rejected, passed, doubted = sample.rejects.pool, sample.passes.pool, sample.unsure.sample.defective
    return Interval(
        rejected * p.low / (rejected * p.low + passed * e.high + doubted),
        rejected * p.high / (rejected * p.high + passed * e.low + doubted),
    )


def main(arguments: list[str] | None = None) -> None:
    """Print a table a plant."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--plant", choices=tuple(PLANTS), action="append", help="default: all")
    asked = parser.parse_args(arguments)
    for name in asked.plant or PLANTS:
        runs = [run(PLANTS[name], seed) for seed in range(asked.seeds)]
        print(f"{name}: {fmean(one.sample.parts for one in runs):,.0f} parts, {asked.seeds} seeds")
        print(f"{'':14} {'made':>6} {'rate':>6} {'naive':>6} {'truth':>9} {'width':>9}")
        found = [estimates_of(one.sample) for one in runs]
        for figure in Truth._fields:
            _row(figure, figure, [Interval(getattr(one, figure).low, getattr(one, figure).high) for one in found], runs)
        _row("  by two ends", "recall", [put_together(one.sample) for one in runs], runs)


def _row(name: str, figure: str, intervals: list[Interval], runs: list[Run]) -> None:
    def held(kind: str) -> int:
        pairs = zip(intervals, runs, strict=True)
        return sum(low <= getattr(getattr(one, kind), figure) <= high for (low, high), one in pairs)

    truth = fmean(getattr(one.truth, figure) for one in runs)
    width = fmean(high - low for low, high in intervals)
    print(f"{name:14} {held('truth'):>6} {held('expected'):>6} {held('naive'):>6} {truth:>9.4%} {width:>9.4%}")


if __name__ == "__main__":
    main()
