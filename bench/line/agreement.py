"""Whether the intervals of kappas cover what holds: simulated studies of parts that are more or less clear.

    python -m bench.line.agreement --studies 600

A part's quality lies left or right of a limit, `apart` standard deviations from it on average; two people who lean to
either side judge it, more often wrongly the nearer it is to the limit. The true kappa is that of very many parts.
"""

import argparse

import numpy as np
import numpy.typing as npt

from neverblink.agreement.kappa import Decisions, Kappa, cohen, fleiss

_PARTS, _DEFECTIVE, _SPREAD, _SHARPNESS, _LEAN = 50, 0.35, 1.2, 2.0, 0.3
_VERY_MANY = 400_000


def drawn(random: np.random.Generator, parts: int, rounds: int, apart: float) -> tuple[Decisions, Decisions, Decisions]:
    """Return what parts are, (N, 1), and what two people decide about them, (N, rounds) each."""
    side = np.where(random.random(parts) < _DEFECTIVE, apart, -apart)
    quality = random.normal(side, _SPREAD)

    def decides(lean: float) -> npt.NDArray[np.bool_]:
        chance = 1 / (1 + np.exp(-(_SHARPNESS * quality + lean)))
        return random.random((parts, rounds)) < chance[:, None]

    return (quality > 0)[:, None], decides(_LEAN), decides(-_LEAN)


def kappas(random: np.random.Generator, parts: int, rounds: int, apart: float) -> tuple[Kappa, Kappa, Kappa]:
    """Return the kappas between two people, of one with the reference, and of all looks."""
    reference, one, other = drawn(random, parts, rounds, apart)
    return cohen(one, other), cohen(one, reference), fleiss(np.hstack([one, other]))


def main() -> None:
    """Print how often each interval holds the true kappa, and how wide it is."""
    given = argparse.ArgumentParser(description=__doc__)
    given.add_argument("--studies", type=int, default=600)
    given.add_argument("--seed", type=int, default=1)
    asked = given.parse_args()
    random = np.random.default_rng(asked.seed)
    print(f"{asked.studies} studies of {_PARTS} parts in each row; 95 % is promised")
    print("apart  rounds  kappa: between, reference, Fleiss    held                  wide")
    for apart in (1.5, 2.5, 4.0):
        for rounds in (1, 3):
            true = [one.value or 0.0 for one in kappas(random, _VERY_MANY, rounds, apart)]
            studies = [kappas(random, _PARTS, rounds, apart) for _ in range(asked.studies)]
            held = [
                np.mean([study[place].low <= value <= study[place].high for study in studies])
                for place, value in enumerate(true)
            ]
            wide = [np.mean([study[place].high - study[place].low for study in studies]) for place in range(3)]
            cells = ("   ".join(f"{value:.3f}" for value in values) for values in (true, held, wide))
            print(f"{apart:5}  {rounds:6}  " + "     ".join(cells))


if __name__ == "__main__":
    main()
