"""Recipes worth a trial, the likeliest first: each says in what it differs from the default."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Final, NamedTuple, get_args

import orjson

from neverblink.trainer.fitting.memory_banks import usual_ratio
from neverblink.trainer.fitting.settings import FitSettings
from neverblink.vision.alignment.spec import Align
from neverblink.vision.tile_plan import TilePlan

TOPS: Final = (3, 10)
_PATCH: Final = 8
"""Pixels of the network's input a patch, for the networks of the default's kind: banks are sized by it."""

_FEATURES: Final = frozenset({"ratio", "top", "neighbours", "false_reject", "projection", "starts", "folds"})
"""Settings that leave features as they are."""

_NAMES: Final = frozenset({"product", "name", "version", "memory_gib", "scratch", "group_by", "robust", "seed"})

_TOO_SMALL: Final = 128

_MOST_OF_ALL: Final = 0.3
"""A bank of more of all patches is no choice of them."""

_EFFORT: Final = {
    "tf_efficientnet_lite0": 1.0,
    "tf_efficientnet_lite1": 1.3,
    "tf_efficientnet_lite2": 1.6,
    "resnet18": 2.2,
}
_OTHER_EFFORT: Final = 5.0
_SEARCH: Final = 0.5
"""Share of a default trial that is no extraction."""


@dataclass(frozen=True)
class Candidate:
    """A recipe: what it is called, and the settings in which it differs from the default, as a file states them."""

    label: str
    changes: Mapping[str, object] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """Return what it is found again by."""
        return orjson.dumps(dict(self.changes), option=orjson.OPT_SORT_KEYS).decode()

    def of(self, default: FitSettings) -> FitSettings:
        """Return its settings. Raises ValidationError where the changes do not fit the default."""
        return FitSettings.model_validate({**default.model_dump(), **self.changes})

    def extraction(self, default: FitSettings) -> str:
        """Return what recipes of the same features have in common; those of fewer lights are among them."""
        settings = self.of(default)
        plain = settings.model_dump(mode="json", exclude=set(_FEATURES | _NAMES))
        if set(settings.brightness) <= set(default.brightness):
            plain["brightness"] = list(default.brightness)
        return orjson.dumps(plain, option=orjson.OPT_SORT_KEYS).decode()

    def bank(self, default: FitSettings) -> str:
        """Return what recipes of the same memory banks have in common."""
        settings = self.of(default)
        return f"{self.extraction(default)} {settings.ratio} {settings.brightness}"


class Facts(NamedTuple):
    """What decides which recipes make sense: how many good pictures, (height, width) of the first one and of all that
    there are, and whether the parts lie differently.
    """

    pictures: int
    size: tuple[int, int]
    sizes: frozenset[tuple[int, int]]
    lie_anyhow: bool


class Network(NamedTuple):
    """A network to try, and its weights file where it needs one."""

    model: str
    weights: str | None = None


DEFAULT: Final = Candidate("default")


def singles(
    default: FitSettings, facts: Facts, networks: Sequence[Network] = (), fixed: Collection[str] = ()
) -> list[Candidate]:
    """Return the default and what differs from it in one thing, the likeliest to pay first.

    `fixed` settings stay as they are. Recipes with the default's features come first: they cost a search alone.
    """
    found = [DEFAULT]
    found += [Candidate(f"top {top}", {"top": top}) for top in TOPS if top != default.top]
    found += _banks(default, facts)
    if len(default.brightness) > 1:
        found.append(Candidate("in one light", {"brightness": [1.0]}))
    if facts.lie_anyhow and default.align == "none":
        # First of what needs features of its own: nothing else gains as much where parts lie anyhow.
        words = [word for word in get_args(Align) if word not in {"none", "auto"}]
        found += [Candidate(f"align {word}", {"align": word}) for word in words]
    if default.clahe is None:
        found.append(Candidate("CLAHE 2", {"clahe": {"clip_limit": 2.0}}))
    sizes = _sizes(default, facts)
    found += sizes[:1]
    found += [_with_network(one) for one in networks if one.model != default.model]
    found += _tiles(default, facts)
    found += sizes[1:2]
    height, width = facts.size
    if not default.keep_aspect and max(height, width) > 1.1 * min(height, width):
        found.append(Candidate("keep aspect", {"keep_aspect": True}))
    found += sizes[2:]
    kept = set(fixed)
    return [one for one in found if not kept & one.changes.keys()]


def _banks(default: FitSettings, facts: Facts) -> list[Candidate]:
    lights = len(default.brightness)
    patches = max(1, facts.pictures * (default.size // _PATCH) ** 2)
    now = default.ratio or usual_ratio(patches) / lights
    smaller, larger = float(f"{now / 4:.2g}"), float(f"{2.5 * now:.2g}")
    found = []
    if larger <= _MOST_OF_ALL:
        found.append(Candidate(f"bank of {100 * larger:.3g} %", {"ratio": larger}))
    if smaller * patches >= _TOO_SMALL:
        found.append(Candidate(f"bank of {100 * smaller:.3g} %", {"ratio": smaller}))
    return found


def _sizes(default: FitSettings, facts: Facts) -> list[Candidate]:
    """Return a finer input, a still finer one, and a coarser one."""
    if default.crop is not None:
        return []
    finer = [_to_32(1.25 * default.size), _to_32(1.5 * default.size)]
    seen = max(facts.size) if default.tiling is None else default.tiling.tile
    # Above the camera's own pixels there is nothing more to see.
    sides = [side for side in finer if side <= seen and side <= 4096]
    sides += [side for side in (_to_32(0.75 * default.size),) if side >= _TOO_SMALL and side < default.size]
    return [Candidate(f"{side} px", {"size": side}) for side in dict.fromkeys(sides) if side != default.size]


def _tiles(default: FitSettings, facts: Facts) -> list[Candidate]:
    longer = max(facts.size)
    if default.tiling is not None or longer < 1.6 * default.size:
        return []
    # Two tiles along the longer side with the usual overlap; three where there is something to see in them.
    wanted = [longer / 1.75]
    if longer >= 3 * default.size:
        wanted.append(longer / 2.5)
    sides = [side for side in (_side(one, facts) for one in wanted) if side is not None]
    return [Candidate(f"tiles of {side} px", {"tiling": {"tile": side}}) for side in dict.fromkeys(sides)]


def _side(wanted: float, facts: Facts) -> int | None:
    """Return a tile's side near the wanted one that cuts all pictures alike, None where there is none."""
    for step in range(6):
        side = math.ceil(wanted * (1 + 0.02 * step))
        if all(TilePlan(tile=side).alike(size, facts.size) for size in facts.sizes):
            return side
    return None


def _with_network(network: Network) -> Candidate:
    return Candidate(network.model, {"model": network.model, "weights": network.weights})


def _to_32(side: float) -> int:
    return 32 * round(side / 32)


def combined(gains: Sequence[tuple[Candidate, float]], *, most: int = 3) -> list[Candidate]:
    """Return recipes that join what helped alone: of each thing its best value, of the `most` best things all pairs
    and all together.
    """
    best: dict[frozenset[str], tuple[Candidate, float]] = {}
    for candidate, gain in gains:
        what = frozenset(candidate.changes)
        if gain > 0 and what and (what not in best or gain > best[what][1]):
            best[what] = (candidate, gain)
    helped = [one for one, _ in sorted(best.values(), key=lambda pair: -pair[1])[:most]]
    # All together first: where gains add up nothing else comes near.
    sets = [some for number in range(len(helped), 1, -1) for some in combinations(helped, number)]
    found = []
    for some in sets:
        changes: dict[str, object] = {}
        for one in some:
            changes |= one.changes
        found.append(Candidate(", ".join(one.label for one in some), changes))
    return found


def effort(candidate: Candidate, default: FitSettings, facts: Facts) -> float:
    """Return about how long a trial takes, the default's as 1."""
    return _work(candidate.of(default), facts) / _work(default, facts)


def _work(settings: FitSettings, facts: Facts) -> float:
    network = _EFFORT.get(settings.model.split(".")[0], _OTHER_EFFORT)
    tiles = 1 if settings.tiling is None else len(settings.tiling.tiles(*facts.size))
    inputs = (settings.size / 256) ** 2 * tiles * len(settings.brightness)
    wanted = settings.ratio or usual_ratio(facts.pictures * 1024) / len(settings.brightness)
    bank = wanted * len(settings.brightness) / 0.04
    return inputs * (network + _SEARCH * bank)
