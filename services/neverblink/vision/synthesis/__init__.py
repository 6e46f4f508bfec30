"""Synthetic defects with their masks, drawn on images of good parts."""

from neverblink.vision.synthesis.defect import Scene, SynthesisError, Synthetic, synthesise
from neverblink.vision.synthesis.policy import KINDS, TAXONOMY, DefectClass, Kind, Policy, Ranges, example

__all__ = [
    "KINDS",
    "TAXONOMY",
    "DefectClass",
    "Kind",
    "Policy",
    "Ranges",
    "Scene",
    "SynthesisError",
    "Synthetic",
    "example",
    "synthesise",
]
