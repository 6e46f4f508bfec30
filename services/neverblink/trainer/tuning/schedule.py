"""What is tried next: the default, then everything on a part of the pictures, then the best of it on all of them, and
while there is time the rest too.

Pure, and a function of what is known: a search that was interrupted goes on where it was. Successive halving (Z.
Karnin, T. Koren, O. Somekh, ICML 2013), with recipes that share features or banks tried together.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

from neverblink.trainer.tuning.candidates import Candidate, combined

Rung = Literal["some", "all"]
"""Whether a trial is on some of the pictures or on all."""

SCREENED: Final = 0.5
JOINED: Final = 0.65
"""Shares of the budget after which no more is screened, and no more is joined: the rest judges the best by all."""

FINALISTS: Final = 6
_TOO_SLOW: Final = 1.1


class Done(NamedTuple):
    """A trial that was made: `gain` over the default on the same pictures, None where it failed."""

    gain: float | None
    ms: float = 0.0


class Step(NamedTuple):
    """Recipes of the same memory banks, tried together, and on which pictures."""

    candidates: tuple[Candidate, ...]
    rung: Rung


class Key(NamedTuple):
    """What a trial is known by."""

    candidate: str
    rung: Rung


@dataclass(frozen=True, slots=True)
class Plan:
    """All that a search is made of: `singles`, the default first, the `bank` that each shares with others, about how
    long a trial takes (`effort`, the default's is 1), whether there are enough pictures to screen on some of them
    (of all trials' time `some` is what those take), and the bound on milliseconds.
    """

    singles: Sequence[Candidate]
    bank: Callable[[Candidate], str]
    effort: Callable[[Candidate], float]
    some: float | None
    max_ms: float | None = None

    @property
    def first_rung(self) -> Rung:
        """Return which pictures everything is tried on."""
        return "all" if self.some is None else "some"

    def next(self, done: Mapping[Key, Done], spent: float, budget: float, default_s: float | None) -> Step | None:
        """Return what to try next, None at the end; `default_s` are the seconds of the default on all pictures.

        The default is always tried. Nothing else begins that would probably end after the budget.
        """
        default = self.singles[0]
        if Key(default.key, "all") not in done:
            return Step(tuple(self._together(default, self.singles, done, "all")), "all")
        if spent >= budget:
            return None
        for candidates, share, rung in self._stages(done):
            step = self._first(candidates, done, rung, spent, budget * share, default_s)
            if step is not None:
                return step
        return None

    def left(self, done: Mapping[Key, Done]) -> int:
        """Return how many trials are left where the budget lets all be made."""
        return sum(Key(one.key, rung) not in done for candidates, _, rung in self._stages(done) for one in candidates)

    def _stages(self, done: Mapping[Key, Done]) -> list[tuple[Sequence[Candidate], float, Rung]]:
        first = self.first_rung
        joined = self._joined(done)
        if first == "all":
            return [(self.singles, 0.8, "all"), (joined, 1.0, "all")]
        finals = self._finalists([*self.singles[1:], *joined], done)
        # A third of the pictures misleads now and then: what did not help there is looked at again, the best first.
        rest = self._ranked([*self.singles[1:], *joined], done)
        return [(self.singles, SCREENED, "some"), (joined, JOINED, "some"), (finals, 1.0, "all"), (rest, 1.0, "all")]

    def _joined(self, done: Mapping[Key, Done]) -> list[Candidate]:
        known = {one.key for one in self.singles}
        return [one for one in combined(self._gains(self.singles[1:], done)) if one.key not in known]

    def _gains(self, candidates: Sequence[Candidate], done: Mapping[Key, Done]) -> list[tuple[Candidate, float]]:
        found = []
        for one in candidates:
            trial = done.get(Key(one.key, self.first_rung))
            if trial is not None and trial.gain is not None and not self._slow(trial):
                found.append((one, trial.gain))
        return found

    def _finalists(self, candidates: Sequence[Candidate], done: Mapping[Key, Done]) -> list[Candidate]:
        gains = {one.key: gain for one, gain in self._gains(candidates, done)}
        helped = [one for one in self._ranked(candidates, done) if gains[one.key] > 0]
        screened = any(Key(one.key, self.first_rung) in done for one in candidates)
        # Where there was no time to screen anything: in the order of the list.
        return helped[:FINALISTS] if screened else list(candidates)

    def _ranked(self, candidates: Sequence[Candidate], done: Mapping[Key, Done]) -> list[Candidate]:
        return [one for one, _ in sorted(self._gains(candidates, done), key=lambda pair: -pair[1])]

    def _slow(self, trial: Done) -> bool:
        return self.max_ms is not None and trial.ms > _TOO_SLOW * self.max_ms

    def _first(
        self,
        candidates: Sequence[Candidate],
        done: Mapping[Key, Done],
        rung: Rung,
        spent: float,
        until: float,
        default_s: float | None,
    ) -> Step | None:
        """Return the first that is not done and has the time."""
        part = 1.0 if rung == "all" else self.some or 1.0
        for one in candidates:
            if Key(one.key, rung) in done:
                continue
            lasts = 0.0 if default_s is None else default_s * self.effort(one) * part
            if spent + lasts <= until:
                return Step(tuple(self._together(one, candidates, done, rung)), rung)
        return None

    def _together(
        self, first: Candidate, candidates: Collection[Candidate], done: Mapping[Key, Done], rung: Rung
    ) -> list[Candidate]:
        """Return it and what differs from it in the score alone."""
        bank = self.bank(first)
        return [one for one in candidates if Key(one.key, rung) not in done and self.bank(one) == bank]
