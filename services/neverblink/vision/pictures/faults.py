"""What a picture can be refused for, and the limits that hold before anything is allocated."""

from typing import Literal

from neverblink.vision.errors import VisionError

ImageFault = Literal["no-image", "wrong-type", "corrupt-image", "image-too-large"]

MAX_PIXELS = 64_000_000
"""An 8000 × 8000 line-scan image; decoded it takes 192 MB."""

MAX_BYTES = 256 * 1024 * 1024
"""No camera image is larger on disk; a larger file is not read."""


class ImageError(VisionError):
    """Bytes that are no usable image; `reason` is the word a verdict carries."""

    def __init__(self, reason: ImageFault, message: str) -> None:
        super().__init__(message)
        self.reason: ImageFault = reason


def corrupt(sentence: str) -> ImageError:
    """Return the error for a picture that is damaged."""
    return ImageError("corrupt-image", sentence)


def unsupported(sentence: str) -> ImageError:
    """Return the error for a whole picture of a kind that is not read."""
    return ImageError("wrong-type", sentence)


def check_size(width: int, height: int, max_pixels: int) -> None:
    """Refuse a size that is none, or above `max_pixels`. Raises ImageError."""
    if width < 1 or height < 1:
        raise corrupt(f"the image's header says {width} × {height} pixels")
    if width * height > max_pixels:
        raise ImageError(
            "image-too-large",
            f"the image has {width} × {height} pixels, more than the {max_pixels} that are allowed",
        )
