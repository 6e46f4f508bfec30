"""OpenVINO and NNCF, imported late and made to keep quiet: they neither report home nor print."""

import importlib
import importlib.util
import logging
import sys
from types import ModuleType
from typing import cast

from neverblink.vision.errors import VisionError


def openvino_is_installed() -> bool:
    """Say whether `import_openvino` will work, without importing it."""
    return importlib.util.find_spec("openvino") is not None


def import_openvino() -> ModuleType:
    """Return the module `openvino`. Raises VisionError when it is not installed."""
    _forbid_telemetry()
    try:
        return importlib.import_module("openvino")
    except ImportError as error:
        raise VisionError("OpenVINO is not installed: pip install 'neverblink[vision]'") from error


def import_nncf() -> ModuleType:
    """Return the module `nncf`. Raises VisionError when it is not installed."""
    _forbid_telemetry()
    try:
        module = importlib.import_module("nncf")
    except ImportError as error:
        raise VisionError("int8 needs NNCF, which is not installed: pip install 'neverblink[int8]'") from error
    module.set_log_level(logging.ERROR)
    return module


def _forbid_telemetry() -> None:
    # Both send usage data from the import on unless a file in the home directory says no; there is no other
    # switch that does not pretend to be a CI run. Without this package they fall back to stubs. None is what
    # Python documents for a module that must not be found.
    cast(dict[str, ModuleType | None], sys.modules).setdefault("openvino_telemetry", None)
