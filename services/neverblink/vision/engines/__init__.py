"""Engines run a network of images, PatchCore's or a U-Net: the same numbers from each, within the stated tolerance."""

from neverblink.vision.engines.agreement import EngineCheck, check_shift, compare_engines
from neverblink.vision.engines.engine import Engine
from neverblink.vision.engines.kept_graphs import KeptGraph, KeptGraphs
from neverblink.vision.engines.quantisation import QuantisedNetwork, quantise
from neverblink.vision.engines.selection import open_engine, reopened_engine

__all__ = [
    "Engine",
    "EngineCheck",
    "KeptGraph",
    "KeptGraphs",
    "QuantisedNetwork",
    "check_shift",
    "compare_engines",
    "open_engine",
    "quantise",
    "reopened_engine",
]
