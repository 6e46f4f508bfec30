"""Engines run a patch embedding: the same features from each, within the stated tolerance."""

from neverblink.vision.engines.eager import EagerEngine
from neverblink.vision.engines.engine import Engine

__all__ = ["EagerEngine", "Engine"]
