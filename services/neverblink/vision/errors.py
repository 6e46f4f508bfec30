"""What can go wrong with images, weights and artifacts, said in sentences."""

from neverblink.errors import NeverblinkError


class VisionError(NeverblinkError, ValueError):
    """An input that the vision room cannot work with; the message is one sentence for the person at fault."""


class NoNumberError(VisionError):
    """Something between an image's pixels and its verdict is no finite number: nothing can be decided from it."""
