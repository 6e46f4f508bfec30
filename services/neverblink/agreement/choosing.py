"""Which parts a study asks about: so many good and defective, some near the threshold. Pure: drawn by a seed."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from neverblink.agreement.study import Answer, PartReference

Class = tuple[Answer, bool]
"""What a part is known to be, and whether it is near the threshold."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A part that a study may ask about. `picture` is where its source finds it, `item` what no other part shares."""

    picture: str
    item: str
    reference: PartReference
    content_type: str | None = None
    depth: int | None = None

    @property
    def of(self) -> Class:
        """Return the class that it is drawn from."""
        return self.reference.answer, self.reference.near


class Wanted(NamedTuple):
    """How many parts, and the shares of them that are defective and that are near the threshold."""

    parts: int
    defective: float
    near: float

    def of(self, answer: Answer) -> int:
        """Return how many are to be so."""
        defective = min(max(round(self.parts * self.defective), 1), self.parts - 1)
        return defective if answer == "defective" else self.parts - defective


class Draw:
    """Parts in the order in which they are taken; one whose picture cannot be had is replaced by the next of its class.

    Types of defects take turns, so that a frequent one leaves room for the others.
    """

    def __init__(self, candidates: Sequence[Candidate], wanted: Wanted, seed: int) -> None:
        self._wanted = wanted
        self._random = random.Random(f"{seed}\nparts")
        self._queues: dict[Class, list[Candidate]] = {}
        for answer in _ANSWERS:
            for near in (False, True):
                found = [one for one in candidates if one.of == (answer, near)]
                self._queues[answer, near] = self._in_turns(found)

    def of(self, answer: Answer) -> Iterator[Candidate]:
        """Yield candidates until the receiver has enough: near ones first, as many as are wanted, then the others.

        Where there are too few of one kind the other kind fills up.
        """
        near = round(self._wanted.of(answer) * self._wanted.near)
        close, clear = self._queues[answer, True], self._queues[answer, False]
        # Near ones that are not wanted come last, and so only where the others do not suffice.
        yield from (*close[:near], *clear, *close[near:])

    def shuffled(self, chosen: Sequence[Candidate]) -> list[Candidate]:
        """Return what was taken in an order that says nothing."""
        found = list(chosen)
        self._random.shuffle(found)
        return found

    def _in_turns(self, candidates: Sequence[Candidate]) -> list[Candidate]:
        types: dict[str, list[Candidate]] = {}
        for one in sorted(candidates, key=lambda one: (one.reference.defect_type or "", one.item, one.picture)):
            types.setdefault(one.reference.defect_type or "", []).append(one)
        for queue in types.values():
            self._random.shuffle(queue)
        longest = max(map(len, types.values()), default=0)
        return [queue[turn] for turn in range(longest) for queue in types.values() if turn < len(queue)]


_ANSWERS: tuple[Literal["good"], Literal["defective"]] = ("good", "defective")
