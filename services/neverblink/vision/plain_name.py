"""Names that are safe as part of a path and in a log."""

import re
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, WithJsonSchema

_PATTERN = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"


def plain(name: str) -> str:
    """Return a name that is safe as part of a path and in a log. Raises ValueError."""
    if not re.fullmatch(_PATTERN, name):
        raise ValueError("letters, digits, dots, dashes and underscores make a name, 64 at most, the first no sign")
    return name


Plain = Annotated[str, AfterValidator(plain), WithJsonSchema({"type": "string", "pattern": f"^{_PATTERN}$"})]


def product_of(images: Path) -> str:
    """Return a product name from an image folder's name."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", images.resolve().name).strip("-._")[:64] or "product"
