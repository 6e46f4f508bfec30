"""Notices a camera that delivers the same picture again and again."""


class FrozenWatch:
    """Counts identical pictures in a row; a real sensor's noise makes each picture different."""

    def __init__(self, after: int | None) -> None:
        self._after = after
        self._last = ""
        self._count = 0

    def is_frozen(self, digest: str) -> bool:
        """Take the next picture's digest; return whether so many in a row were identical."""
        self._count = self._count + 1 if digest == self._last else 1
        self._last = digest
        return self._after is not None and self._count >= self._after
