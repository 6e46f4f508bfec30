"""What the plant file says of parts when they are written."""

from neverblink.plant import Plant
from neverblink.records.parts import PartRules


def rules_of(plant: Plant) -> PartRules:
    """Return the rules of a plant."""
    return PartRules(plant.shift_plan().shift_at, plant.records.reviewing.counts, plant.proof.audit.share_of)
