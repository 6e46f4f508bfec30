"""What a part is besides a part of the line: one that people judge whatever the verdict, or a known one."""

from typing import Any, NamedTuple

from neverblink.events import Frame


class Marks(NamedTuple):
    """The marks that a part's frame and verdict carry.

    `holdout_share` is with what share its like are drawn, None where none are; `reference` the id of the reference
    part that a challenge is.
    """

    holdout: bool = False
    holdout_share: float | None = None
    challenge: bool = False
    reference: str | None = None

    @classmethod
    def of(cls, frame: Frame) -> "Marks":
        """Return the marks that a frame carries."""
        return cls(frame.holdout, frame.holdoutshare, frame.challenge, frame.reference)

    def on_frame(self) -> dict[str, Any]:
        """Return the marks as a frame's fields: its names are attributes, letters and digits only."""
        fields = self._asdict()
        return {**fields, "holdoutshare": fields.pop("holdout_share")}


PLAIN = Marks()
"""A part like any other."""
