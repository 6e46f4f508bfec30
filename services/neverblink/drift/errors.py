"""What keeps the drift service from running, in sentences."""

from neverblink.errors import NeverblinkError


class DriftError(NeverblinkError, RuntimeError):
    """The drift service cannot run; the message says why and what to do."""


class LayoutError(DriftError):
    """State that another version of this program has written, as no version before it did."""

    def __init__(self, what: str, found: object, read: int) -> None:
        super().__init__(
            f"{what} has layout {found}; this program reads {read}: run the version that wrote it, or delete the"
            " changelog topic to count anew"
        )
