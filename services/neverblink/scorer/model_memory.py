"""Which models stay in memory: those that a station uses always, the others until their room is needed."""

from collections import Counter, OrderedDict
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Generic, TypeVar

from neverblink.errors import NeverblinkError

T = TypeVar("T")
N = TypeVar("N")

Key = tuple[str, str]
"""A product's name and an artifact's digest: the product's rules are part of how it is inspected."""

MIB = 1024 * 1024
_IDLE_KEPT = 2
"""Models of a product that stay though no station uses them, bound or not: a rollback and its undoing are instant."""


class NoRoomError(NeverblinkError, ValueError):
    """A model does not fit beside those in use; the message says what it needs and what is left."""


@dataclass(frozen=True, slots=True)
class _Held(Generic[T]):
    item: T
    bytes: int
    network: str


class ModelMemory(Generic[T, N]):
    """Models by key and the networks that they share, each with its bytes; a network counts once and goes with its last
    model. It belongs to the thread that opens models.
    """

    def __init__(self, bound_bytes: int | None, *, measured: Callable[[], int] | None = None) -> None:
        """`measured` says what the device really holds, where that can be asked: more than what was counted."""
        self._bound = bound_bytes
        self._measured = measured
        # The longest unused first.
        self._held: OrderedDict[Key, _Held[T]] = OrderedDict()
        self._networks: dict[str, tuple[N, int]] = {}

    @property
    def bytes(self) -> int:
        """Return what all models and networks hold."""
        # Of copies: the thread that exports metrics asks too.
        counted = sum(held.bytes for held in list(self._held.values()))
        counted += sum(size for _, size in list(self._networks.values()))
        return counted if self._measured is None else max(counted, self._measured())

    @property
    def keys(self) -> tuple[Key, ...]:
        """Return what is held, the longest unused first."""
        return tuple(self._held)

    def network(self, name: str) -> N | None:
        """Return a network that a held model uses."""
        found = self._networks.get(name)
        return None if found is None else found[0]

    def get(self, key: Key) -> T | None:
        """Return a held model, which is then the one used last."""
        held = self._held.get(key)
        if held is None:
            return None
        self._held.move_to_end(key)
        return held.item

    def make_room(self, needed: int, in_use: Collection[Key]) -> tuple[Key, ...]:
        """Let models go that nobody uses, the longest unused first, until `needed` bytes fit; return which.

        Raises NoRoomError when they do not fit beside those in use; what nobody uses is then gone too.
        """
        gone: list[Key] = []
        if self._bound is None:
            return ()
        while self.bytes + needed > self._bound:
            idle = next((key for key in self._held if key not in in_use), None)
            if idle is None:
                raise self._no_room(needed)
            self._drop(idle)
            gone.append(idle)
        return tuple(gone)

    def add(
        self, key: Key, item: T, size: int, *, network: tuple[str, N, int], in_use: Collection[Key]
    ) -> tuple[Key, ...]:
        """Hold a model of `size` bytes and its network (name, network, bytes); return which went for it.

        Raises NoRoomError, and holds neither, when they do not fit beside those in use.
        """
        name, found, network_size = network
        needed = size if name in self._networks else size + network_size
        # Held first: were the network's last other model let go for it, the network would go too.
        self._networks.setdefault(name, (found, network_size))
        self._held[key] = _Held(item, size, name)
        try:
            return self.make_room(0, {*in_use, key})
        except NoRoomError:
            self._drop(key)
            raise self._no_room(needed) from None

    def trim(self, in_use: Collection[Key]) -> tuple[Key, ...]:
        """Let go what nobody uses beyond a few models of each product; return which."""
        kept: Counter[str] = Counter()
        gone: list[Key] = []
        for key in reversed(self.keys):
            if key not in in_use:
                kept[key[0]] += 1
                if kept[key[0]] > _IDLE_KEPT:
                    self._drop(key)
                    gone.append(key)
        return tuple(gone)

    def _no_room(self, needed: int) -> NoRoomError:
        bound = self._bound or 0
        return NoRoomError(
            f"it needs {needed / MIB:.1f} MiB more, the models in use hold {self.bytes / MIB:.1f} MiB, and"
            f" scorer.memory_mib is {bound / MIB:.0f}"
        )

    def _drop(self, key: Key) -> None:
        network = self._held.pop(key).network
        if all(held.network != network for held in self._held.values()):
            del self._networks[network]
