"""What a whole model promises and rejects for: its score, U-Net and classifier together, by a product's rules."""

from collections.abc import Iterator

from neverblink.decisions.rules import DEFAULT_RULES, ProductRules
from neverblink.vision.artifact_manifest import Description
from neverblink.vision.calibration import percent

_UNET_CONFIDENCE = 0.95


def promise_of(manifest: Description, rules: ProductRules = DEFAULT_RULES) -> str:
    """Return in a sentence how many good parts are rejected at most, whatever rejects them.

    Either bound fails with its own chance: both hold with what is left of their sum (Boole's inequality).
    """
    calibration, unet = manifest.calibration, manifest.unet
    by_score = calibration.statement()
    if unet is None and rules.policy.reject_on == "defects":
        return f"{by_score}; by the rules an anomaly alone rejects nothing"
    if unet is None:
        return by_score
    if rules.policy.reject_on == "score":
        return f"{by_score}; by the rules U-Net and classifier reject nothing"
    if unet.false_alarm_bound is None:
        return (
            f"by the score alone {by_score}; the U-Net rejects good parts too and was tried on none:"
            " `neverblink evaluate` counts them"
        )
    whole = min(1.0, calibration.false_reject + unet.false_alarm_bound)
    confidence = max(0.0, calibration.confidence + _UNET_CONFIDENCE - 1)
    return (
        f"at most {percent(whole)} of good parts are rejected, with {percent(confidence)} confidence:"
        f" {percent(calibration.false_reject)} by the score, from {calibration.normals} good images, and"
        f" {percent(unet.false_alarm_bound)} by the U-Net, which marked {unet.false_alarms} of"
        f" {unet.held_out_good} held-out good images"
    )


def rejected_when(manifest: Description, rules: ProductRules = DEFAULT_RULES) -> Iterator[str]:
    """Yield what a part is rejected for, one condition a line; any of them is enough."""
    policy, unet = rules.policy, manifest.unet
    threshold = manifest.calibration.threshold
    if policy.reject_on != "defects":
        yield f"score above {threshold:.4f}"
    if policy.reject_on == "score":
        return
    if policy.reject_on == "defects":
        yield f"only by regions: above a score of {threshold:.4f} an anomaly without a rule of its own is unsure"
    classes = () if unet is None else unet.spec.classes
    known = () if manifest.classifier is None else manifest.classifier.spec.types
    for name in dict.fromkeys((*classes, *known)):
        rule = policy.types.get(name, policy.others)
        if not rule.reject:
            yield f"never for {name}, by the rules"
            continue
        how = ["named so by the classifier"] if name in known else []
        if name in classes and unet is not None:
            how.insert(0, f"outlined by the U-Net above {unet.spec.threshold(classes.index(name)):.2f}")
        least = "" if rule.min_area_px <= 1 else f", from {rule.min_area_px} px"
        least += "" if rule.min_area_mm2 is None else f", from {rule.min_area_mm2:g} mm²"
        least += "" if rule.min_confidence <= 0 else f", from a confidence of {rule.min_confidence:g}"
        yield f"{name}: {' or '.join(how)}{least}"
