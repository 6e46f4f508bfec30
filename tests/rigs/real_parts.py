"""What a test does where a real part that it needs cannot run."""

import os
from typing import NoReturn

import pytest

REQUIRED = "NEVERBLINK_REQUIRE_PLANT"


def without(part: str, reason: object) -> NoReturn:
    """Skip with the reason; fail where every real part is required, as in continuous integration."""
    if os.environ.get(REQUIRED) == "1":
        pytest.fail(f"{REQUIRED}=1 and {part} cannot run: {reason}", pytrace=False)
    pytest.skip(f"{part} cannot run here: {reason}")
