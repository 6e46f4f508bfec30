"""The nearest bank vector of every query: exactly, by the fastest of four ways; or nearly, with its recall. And the
farthest queries, without the nearest vector of the others."""

from neverblink.vision.neighbours.choice import Method, neighbour_index
from neverblink.vision.neighbours.faiss_search import ApproximateIndex, FaissFlat
from neverblink.vision.neighbours.farthest import Bounds, Farthest, FarthestSearch
from neverblink.vision.neighbours.half_precision import HalfPrecisionGemm
from neverblink.vision.neighbours.product import AugmentedGemm
from neverblink.vision.neighbours.pruned import PrunedGemm
from neverblink.vision.neighbours.search import Nearest, NeighbourIndex
from neverblink.vision.neighbours.table import neighbour_table

__all__ = [
    "ApproximateIndex",
    "AugmentedGemm",
    "Bounds",
    "FaissFlat",
    "Farthest",
    "FarthestSearch",
    "HalfPrecisionGemm",
    "Method",
    "Nearest",
    "NeighbourIndex",
    "PrunedGemm",
    "neighbour_index",
    "neighbour_table",
]
