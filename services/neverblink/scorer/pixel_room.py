"""How many bytes of decoded images are in memory, and how many may be."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from neverblink.vision.inspector import Prepared


class PixelRoom:
    """Counts the bytes of decoded images; belongs to the loop.

    An image's size is known when it is decoded. So nothing is decoded while the room `is_full`, and what is being
    decoded then may lie above the bound.
    """

    def __init__(self, bound: int) -> None:
        """`bound` is in bytes."""
        self._bound = bound
        self._bytes = 0
        self._freed: Callable[[], None] = lambda: None

    def on_freed(self, callback: Callable[[], None]) -> None:
        """Call this whenever bytes are given back."""
        self._freed = callback

    @property
    def bytes(self) -> int:
        """Return how many bytes are held now."""
        return self._bytes

    @property
    def is_full(self) -> bool:
        """Say whether nothing more should be decoded."""
        return self._bytes >= self._bound

    @contextmanager
    def holding(self, size: int) -> Iterator[None]:
        """Count `size` bytes until the block is left."""
        self._bytes += size
        try:
            yield
        finally:
            self._bytes -= size
            self._freed()


def pixel_bytes(prepared: Prepared) -> int:
    """Return the bytes of an image and of what the networks take of it."""
    return prepared.image.nbytes + sum(one.nbytes for one in (*prepared.inputs, *(prepared.outlining or ())))
