"""From a plant file's rules to how a product's images are inspected and what the verdict is decided by."""

from dataclasses import dataclass, field, replace

from neverblink.plant import DefectPolicy, DefectRule, Plant, PlantError, Product
from neverblink.vision.hybrid import Policy, TypeRule
from neverblink.vision.synthesis import KINDS, TAXONOMY

_KNOWN = {str(kind): str(TAXONOMY[kind]) for kind in KINDS}


@dataclass(frozen=True, slots=True)
class ProductRules:
    """How a product is inspected and decided; without a plant file, as a product is that states no rules.

    Regions below `min_area_px` are dropped, `mm_per_px` is the station's scale, `depth` are the bits that values of its
    16-bit pictures use (None: as the model was told), and `title` says whose rules these are.
    From the plant file's `defects` follow the `policy` of the decision, and that the U-Net runs for scores from
    `segment_from` of the threshold on.
    """

    defects: DefectPolicy = field(default_factory=DefectPolicy)
    min_area_px: int = 1
    mm_per_px: float | None = None
    depth: int | None = None
    title: str = "the default rules"
    policy: Policy = field(init=False)
    segment_from: float = field(init=False)

    def __post_init__(self) -> None:
        # Worked out once: the scorer decides every frame by them.
        object.__setattr__(self, "policy", policy_of(self.defects))
        object.__setattr__(self, "segment_from", self.defects.segment_from)


def rules_of(plant: Plant, product: str, station: str | None = None) -> ProductRules:
    """Return the rules of a product, for images of its `station` (LINE/STATION), which is needed for rules in mm²
    where its stations have different scales. Raises PlantError.
    """
    rules = rules_for(plant.product(product))
    scale, depth = _scale(plant, product, station), _depth(plant, product, station)
    return replace(rules, mm_per_px=scale, depth=depth, title=f"{rules.title} at {plant.site}")


def rules_for(product: Product) -> ProductRules:
    """Return a product's rules, without a scale: each of its stations has one of its own, or none."""
    return ProductRules(product.defects, product.min_area_px, title=f"the rules of product {product.name}")


def policy_of(settings: DefectPolicy) -> Policy:
    """Return the rules of a product's plant file as the hybrid decision takes them."""
    return Policy(
        reject_on=settings.reject_on,
        types={name: _rule(rule) for name, rule in settings.types.items()},
        others=_rule(settings.others),
    )


def taxonomy_of(settings: DefectPolicy, type_: str) -> str | None:
    """Return a defect type's class: the plant file's, else that of a type which can be synthesised, else None."""
    rule = settings.types.get(type_)
    stated = None if rule is None else rule.taxonomy
    return stated or _KNOWN.get(type_)


def _rule(rule: DefectRule) -> TypeRule:
    return TypeRule(rule.reject, rule.min_area_px, rule.min_area_mm2, rule.min_confidence)


def _scale(plant: Plant, product: str, station: str | None) -> float | None:
    scales = {f"{line.name}/{one.name}": one.mm_per_px for line, one in plant.stations() if one.product == product}
    if station is not None:
        if station not in scales:
            raise PlantError(
                f"no station {station} inspects product {product}; its stations are {', '.join(scales) or 'none'}"
            )
        return scales[station]
    different = set(scales.values())
    if len(different) > 1 and plant.product(product).needs_scale:
        raise PlantError(
            f"product {product} has defect areas in mm², and its stations have different scales: name the one that"
            f" the images come from with --station, one of {', '.join(scales)}"
        )
    return different.pop() if len(different) == 1 else None


def _depth(plant: Plant, product: str, station: str | None) -> int | None:
    """Return what the station states, or all of the product's stations alike, else the product itself."""
    stated = {
        plant.depth(one)
        for line, one in plant.stations()
        if one.product == product and station in (None, f"{line.name}/{one.name}")
    }
    return stated.pop() if len(stated) == 1 else plant.product(product).depth


DEFAULT_RULES = ProductRules()
