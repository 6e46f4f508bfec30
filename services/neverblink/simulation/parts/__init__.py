"""Simulated parts under a simulated camera: drawn products, defects with masks, data sets."""

from neverblink.simulation.parts.dataset import write_dataset
from neverblink.simulation.parts.drawing import DefectType, ProductDrawing, SimulationError
from neverblink.simulation.parts.simulation import PRODUCTS, SIZE, SimulatedPart, Simulation

__all__ = [
    "PRODUCTS",
    "SIZE",
    "DefectType",
    "ProductDrawing",
    "SimulatedPart",
    "Simulation",
    "SimulationError",
    "write_dataset",
]
