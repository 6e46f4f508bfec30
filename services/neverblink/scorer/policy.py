"""From a plant file's rules to what the models' verdict is decided by."""

from neverblink.plant import DefectPolicy, DefectRule
from neverblink.vision.hybrid import Policy, TypeRule
from neverblink.vision.synthesis import KINDS, TAXONOMY

_KNOWN = {str(kind): str(TAXONOMY[kind]) for kind in KINDS}


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
