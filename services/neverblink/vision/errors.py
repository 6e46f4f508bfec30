"""What can go wrong with images, weights and artifacts, said in sentences."""

from neverblink.errors import NeverblinkError


class VisionError(NeverblinkError, ValueError):
    """An input that the vision room cannot work with; the message is one sentence for the person at fault."""
