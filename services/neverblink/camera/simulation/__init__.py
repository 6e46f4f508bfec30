"""Simulated parts under a simulated camera: drawn products, defects with masks, data sets."""

from neverblink.camera.simulation.dataset import write_dataset
from neverblink.camera.simulation.drawing import DefectType, ProductDrawing
from neverblink.camera.simulation.simulation import PRODUCTS, SIZE, SimulatedPart, Simulation

__all__ = [
    "PRODUCTS",
    "SIZE",
    "DefectType",
    "ProductDrawing",
    "SimulatedPart",
    "Simulation",
    "write_dataset",
]
