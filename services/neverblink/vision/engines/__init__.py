"""Engines run a network of images, PatchCore's or a U-Net: the same numbers from each, within the stated tolerance."""

from neverblink.vision.engines.agreement import EngineCheck, check_shift, compare_engines
from neverblink.vision.engines.engine import Engine
from neverblink.vision.engines.quantisation import QuantisedNetwork, quantise
from neverblink.vision.engines.selection import open_engine

__all__ = [
    "Engine",
    "EngineCheck",
    "QuantisedNetwork",
    "check_shift",
    "compare_engines",
    "open_engine",
    "quantise",
]
