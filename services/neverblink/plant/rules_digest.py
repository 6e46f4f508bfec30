"""What a report about a model depends on beside the model: the product's rules, as one digest."""

import hashlib
import json

from neverblink.plant.whole import Plant


def rules_digest(plant: Plant, product: str) -> str:
    """Return the digest of all that the plant file says of how a product's pictures are judged.

    Defaults are left out: a field that a later version adds changes no digest. Raises PlantError.
    """
    described = plant.product(product)
    stations = [(f"{line.name}/{one.name}", one) for line, one in plant.stations() if one.product == product]
    says: dict[str, object] = {
        "product": product,
        "defects": described.defects.model_dump(mode="json", exclude_defaults=True),
        "min_area_px": described.min_area_px,
        "search": described.search,
        "depths": {name: depth for name, one in stations if (depth := plant.depth(one)) is not None},
        # A scale decides nothing where no rule speaks of mm².
        "scales": {name: one.mm_per_px for name, one in stations} if described.needs_scale else {},
    }
    return f"sha256:{hashlib.sha256(json.dumps(says, sort_keys=True).encode()).hexdigest()}"
