"""A product's rules in the plant file are the rules that its images are inspected and decided by."""

import pytest

from neverblink.decisions.rules import ProductRules, policy_of, rules_of, taxonomy_of
from neverblink.plant import DefectPolicy, Plant, PlantError
from neverblink.vision import hybrid


def plant_of(scales: dict[str, float | None], **product: object) -> Plant:
    """Return a plant whose line-1 has a station of each name, all inspecting boards."""
    return Plant.model_validate(
        {
            "site": "plant-1",
            "products": [{"name": "board", "artifact": "board-1", **product}, {"name": "lid", "artifact": "lid-1"}],
            "lines": [
                {
                    "name": "line-1",
                    "timing": {"distance_to_gate_m": 2, "speed_m_s": 1},
                    "stations": [
                        {
                            "name": name,
                            "product": "board",
                            "source": {"kind": "folder", "path": "pictures"},
                            "trigger": {"kind": "timer"},
                            "mm_per_px": scale,
                        }
                        for name, scale in scales.items()
                    ],
                }
            ],
        }
    )


IN_MM2 = {"types": {"scratch": {"min_area_mm2": 0.5}}}


def test_a_product_is_inspected_as_the_plant_file_says() -> None:
    plant = plant_of({"top": 0.1}, min_area_px=9, defects=IN_MM2 | {"segment": "suspicious", "suspicious_from": 0.7})
    rules = rules_of(plant, "board")
    assert (rules.segment_from, rules.min_area_px, rules.mm_per_px) == (0.7, 9, 0.1)
    assert rules.policy.types["scratch"].min_area_mm2 == 0.5
    assert rules.title == "the rules of product board at plant-1"


def test_a_product_that_states_no_rules_has_the_default_ones() -> None:
    rules = rules_of(plant_of({"top": None}), "lid")
    assert rules == ProductRules(title="the rules of product lid at plant-1")


def test_areas_in_mm2_need_the_station_where_scales_differ() -> None:
    plant = plant_of({"top": 0.1, "side": 0.2}, defects=IN_MM2)
    with pytest.raises(PlantError, match="with --station, one of line-1/top, line-1/side"):
        rules_of(plant, "board")
    assert rules_of(plant, "board", "line-1/side").mm_per_px == 0.2
    with pytest.raises(PlantError, match="no station line-1/back inspects product board; its stations are line-1/top"):
        rules_of(plant, "board", "line-1/back")
    # Nothing asks for a scale: none is needed.
    assert rules_of(plant_of({"top": 0.1, "side": 0.2}), "board").mm_per_px is None


def test_the_plant_file_says_which_class_a_type_belongs_to() -> None:
    settings = DefectPolicy.model_validate({"types": {"blowhole": {"taxonomy": "structural"}, "fray": {}}})
    found = [taxonomy_of(settings, name) for name in ("blowhole", "scratch", "fray", "unknown")]
    assert found == ["structural", "surface", None, None]


def test_the_plant_files_rules_are_the_decisions_rules() -> None:
    settings = DefectPolicy.model_validate(
        {
            "reject_on": "defects",
            "types": {"stain": {"min_area_mm2": 2.0, "min_confidence": 0.4}, "fray": {"reject": False}},
        }
    )
    policy = policy_of(settings)
    assert policy.reject_on == "defects"
    assert policy.types["stain"] == hybrid.TypeRule(min_area_mm2=2.0, min_confidence=0.4)
    assert not policy.types["fray"].reject
    assert policy_of(DefectPolicy()) == hybrid.Policy()
