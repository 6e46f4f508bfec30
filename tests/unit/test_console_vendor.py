"""What browsers run of others lies here, with version, licence and digest, and as it was taken over."""

import hashlib
import json
from typing import Any

from neverblink.console.static_files import FOLDER

VENDOR = FOLDER / "vendor"
TAKEN: list[dict[str, Any]] = json.loads((VENDOR / "vendor.json").read_text())


def test_every_file_of_others_is_as_it_was_taken_over() -> None:
    for one in TAKEN:
        assert hashlib.sha256((VENDOR / one["file"]).read_bytes()).hexdigest() == one["sha256"], one["file"]
        assert one["version"]
        assert one["licence"] in {"0BSD", "MIT", "BSD-3-Clause"}
        assert (VENDOR / one["licence_file"]).stat().st_size > 100


def test_nothing_else_lies_there() -> None:
    told = {"vendor.json"} | {one[key] for one in TAKEN for key in ("file", "licence_file")}
    assert {path.name for path in VENDOR.iterdir()} == told
