"""The promise on pictures that are not as many witnesses as they are: how it breaks, and what keeps it or warns."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from scipy.stats import betabinom

from bench.models.grouped_pictures import KINDS, Grouped, Image, Kind, grouped
from bench.models.picture_distances import PictureDistances, Places, distances
from neverblink.vision.calibration import calibrate, folds
from neverblink.vision.copies import Fingerprint, find_copies, fingerprint, joined_groups, one_each
from neverblink.vision.likeness import likeness

FOLDS = 5
LEARNT = {"near copies": 100, "items": 59, "drift": 200}
"""Groups that calibrate; of drift out of the first two thirds."""

TOMORROW = {"near copies": 50, "items": 61, "drift": 100}

Method = Literal["each picture", "copies", "groups"]
METHODS: tuple[Method, ...] = ("each picture", "copies", "groups")


@dataclass(frozen=True)
class Outcome:
    """One draw: what was promised, which share of tomorrow's good pictures was rejected, and whether that was told.

    `of_all` is the share of rejected groups among those learnt from, held out, and tomorrow's: the finite population
    that both are drawn from. `chance` is how likely a right threshold seems to break its promise among so few of
    tomorrow's groups.
    """

    promised: float
    rejected: float
    of_all: float
    chance: float
    warned: bool

    @property
    def broken(self) -> bool:
        """Say whether more of tomorrow's pictures were rejected than promised."""
        return self.rejected > self.promised


@dataclass(frozen=True)
class Material:
    """Pictures of one kind, what each is recognised by, and how far they lie from one another."""

    pictures: Grouped
    prints: Sequence[Fingerprint]
    apart: PictureDistances

    def draw(self, learnt: Places, tomorrow: Places, method: Method, seed: int) -> Outcome:
        """Calibrate with the pictures `learnt` and judge those of `tomorrow`, all of them good."""
        own = np.arange(len(learnt))
        copies = own if method == "each picture" else find_copies([self.prints[place] for place in learnt]).group
        by_name = np.unique(self.pictures.group[learnt], return_inverse=True)[1].astype(np.int64)
        group = joined_groups(by_name, copies) if method == "groups" else copies
        fold_of = folds(int(group.max()) + 1, FOLDS, seed=seed)[group]
        held_out = self.apart.held_out(learnt, fold_of)
        scores = one_each(held_out, group)
        calibration = calibrate(scores, scores)
        new = self.apart.scores(tomorrow, learnt)
        worst = one_each(new, np.unique(self.pictures.group[tomorrow], return_inverse=True)[1].astype(np.int64))
        found = likeness(calibration, scores, worst if method == "groups" else new)
        above = len(scores) - calibration.rank
        most = int(calibration.false_reject * len(worst))
        limit = calibration.threshold
        return Outcome(
            promised=calibration.false_reject,
            rejected=float((new > limit).mean()),
            of_all=float((np.concatenate([scores, worst]) > limit).mean()),
            chance=float(betabinom.sf(most, len(worst), above + 1, calibration.rank)),
            warned=not found.alike,
        )


def material(tiles: Sequence[Image], kind: Kind, cache: Path) -> Material:
    """Return a kind's pictures and their distances, which are kept in the folder `cache`."""
    made = grouped(tiles, kind)
    apart = distances(made.pictures, len(made.pictures), cache / f"{kind.replace(' ', '-')}.npy")
    return Material(made, [fingerprint(picture) for picture in made.pictures], apart)


def drawn(made: Material, kind: Kind, draw: int, *, alike: bool) -> tuple[Places, Places]:
    """Return the pictures to learn from and those of tomorrow; `alike` mixes first what drift has put in order."""
    random = np.random.default_rng(draw)
    groups = np.arange(int(made.pictures.group.max()) + 1)
    if kind == "drift" and not alike:
        early = 2 * len(groups) // 3
        first, then = random.permutation(groups[:early]), random.permutation(groups[early:])
    else:
        mixed = random.permutation(groups)
        first, then = mixed[: LEARNT[kind]], mixed[LEARNT[kind] :]
    learnt, tomorrow = first[: LEARNT[kind]], then[: TOMORROW[kind]]
    places = np.arange(len(made.pictures.group))
    return (
        places[np.isin(made.pictures.group, learnt)],
        places[np.isin(made.pictures.group, tomorrow)],
    )


def grouped_table(tiles: Sequence[Image], cache: Path, draws: int) -> None:
    """Print how often the promise is broken on each kind by each way to count, and how often that is told."""
    print(f"{draws} draws each; tomorrow's parts are good, and of other groups than those learnt from. By chance: so")
    print(
        "often a right threshold seems to break its promise among so few groups; on all: so often it is broken on the"
    )
    print("groups of both days\n")
    print("| pictures | counted by | promise | rejected, mean | broken | not told | by chance | on all | told |")
    print("|---|---|---|---|---|---|---|---|---|")
    for kind in KINDS:
        made = material(tiles, kind, cache)
        cases = [(method, False) for method in METHODS if method != "groups" or kind != "drift"]
        if kind == "drift":
            cases = [("copies", False), ("copies", True)]
        for method, alike in cases:
            found = [made.draw(*drawn(made, kind, draw, alike=alike), method, draw) for draw in range(draws)]
            name = f"{kind}, mixed (alike)" if alike else kind
            chance, on_all = "–", "–"
            if method == "groups" or kind == "drift":
                chance = f"{sum(one.chance for one in found):.0f}"
                on_all = f"{sum(one.of_all > one.promised for one in found)}"
            print(
                f"| {name} | {method} | {np.mean([one.promised for one in found]):.1%}"
                f" | {np.mean([one.rejected for one in found]):.1%} | {sum(one.broken for one in found)}"
                f" | {sum(one.broken and not one.warned for one in found)}"
                f" | {chance} | {on_all}"
                f" | {sum(one.warned for one in found)} |",
                flush=True,
            )
