"""What keeps a search from being made."""

from neverblink.vision.errors import VisionError


class TuneError(VisionError):
    """A search that cannot be made; the message says why, and what to do."""
