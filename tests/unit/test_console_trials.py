"""Pictures that an engineer chooses: examples of presence checks, and those that a model is tried on."""

import asyncio
import json
import os
from pathlib import Path

from onboarding_sitting import FITTED, LIE, LOOKED, PNG, Sitting, archive, looked, over, roots, send, sitting
from told_jobs import once

from neverblink.console.onboarding.named import kept
from neverblink.console.onboarding.products import NewProducts

__all__ = ["roots", "sitting"]

CANVAS = "camera 640 480"
SCREW = {"name-0": "screw-2", "kind-0": "presence", "polygon-0": "10,10 90,10 90,90", "canvas": CANVAS}
TRIED = {
    "artifact": FITTED["digest"],
    "pictures": [
        {
            "path": "0.png", "picture": "seen-000.jpg", "decision": "reject", "reason": "defect", "ratio": 1.4,
            "defects": [{"type": "absent", "taxonomy": "assembly", "region": "screw-2", "source": "presence"}],
            "regions": [
                {"name": "rest", "kind": "judged", "score": 0.5, "threshold": 1, "ratio": 0.5},
                {"name": "screw-2", "kind": "presence", "score": 1.4, "threshold": 1, "ratio": 1.4, "state": "absent"},
            ],
        },
        {"path": "1.png", "decision": "unscored", "reason": "not-found", "detail": "no part stands out"},
    ],
}  # fmt: skip


async def ready(sitting: Sitting, roots: Path) -> Path:
    """Look pictures over, one of them a labelled defect, keep a presence check, and return the product's folder."""
    (roots / "pcb" / "test").mkdir()
    for name in ("000.png", "dark.png", "test/1.png"):
        (roots / "pcb" / name).write_bytes(PNG)
    labelled = [{"path": "test/1.png", "defect": "missing", "picture": "defect-000.jpg"}]
    results = {"look-over": {**LOOKED, "labelled": labelled}, "fit": FITTED, "inspect": TRIED}
    (sitting.results / "results.json").write_text(json.dumps(results))
    await looked(sitting, roots)
    assert await sitting.step("regions", **SCREW) == 303
    return NewProducts(sitting.console.plant.console.work).folder(sitting.name)


async def test_examples_are_chosen_or_sent_and_the_regions_name_them(sitting: Sitting, roots: Path) -> None:
    folder = await ready(sitting, roots)
    before = sitting.product.regions
    page = (await sitting.browser.get(f"/onboarding/{sitting.name}/regions/screw-2")).text
    assert "missing" in page
    assert "defect-000.jpg" in page
    form = {"looked": sitting.product.looked, "into": "screw-2/absent", "pick": ["0"]}
    assert await sitting.step("chosen", **form) == 303
    regions = kept(folder, sitting.product.regions)
    assert regions is not None
    (place,) = regions.regions[0].examples.values()
    (name,) = [one.name for one in place.iterdir()]
    assert name.endswith("-1.png")
    assert sitting.product.regions != before, "a model that learnt from other examples is another one"
    packed = archive({"a/1.png": PNG + b"1", "b/1.png": PNG + b"2"})
    assert await send(sitting, packed, "both.zip", into="screw-2/wrong") == (200, {"kept": 2, "passed_over": 0})
    assert "absent 1, wrong 2, turned round 0" in await sitting.page()
    answer = await sitting.browser.http.get(
        f"/onboarding/{sitting.name}/chosen", params={"into": "screw-2/absent", "file": name}
    )
    assert (answer.content, answer.headers["content-type"]) == (PNG, "image/png")
    assert "sandbox" in answer.headers["content-security-policy"]
    assert await sitting.step("chosen", into="screw-2/absent", do="remove", file=[name, "../../../product.json"]) == 303
    assert "absent 0, wrong 2" in await sitting.page()
    assert (folder / "product.json").exists()


async def test_a_place_that_is_none_takes_and_shows_nothing(sitting: Sitting, roots: Path) -> None:
    await ready(sitting, roots)
    http, here = sitting.browser.http, f"/onboarding/{sitting.name}"
    for into in ("../..", "screw-2/..", "screw-2/present", "other/absent", ""):
        for file in ("product.json", "../product.json"):
            answer = await http.get(f"{here}/chosen", params={"into": into, "file": file})
            assert answer.status_code == 404, (into, file)
    assert (await http.get(f"{here}/chosen?into=tries&file=../product.json")).status_code == 404
    assert (await sitting.browser.get(f"{here}/regions/other")).status_code == 404
    assert (await send(sitting, PNG, "x.png", into="screw-2/.."))[0] == 422
    assert await sitting.step("chosen", into="tries", pick=["0"], looked="another") == 422
    assert "looked over anew: choose again" in sitting.browser.seen
    many = archive({f"{number}.png": PNG + bytes([number]) for number in range(201)})
    status, said = await send(sitting, many, "many.zip", into="tries")
    assert (status, said["fault"]) == (422, "more than 200 pictures at once: send fewer")


async def test_a_model_is_tried_on_chosen_pictures_and_each_region_is_told(sitting: Sitting, roots: Path) -> None:
    folder = await ready(sitting, roots)
    assert await sitting.step("try", what="tries") == 422
    assert await sitting.step("fit", size="256") == 303
    fit = once(sitting.console.desk.runs, sitting.product.models[-1], over)
    assert fit.settings()["regions"] == str(folder / "regions" / str(sitting.product.regions))
    assert await sitting.step("chosen", looked=sitting.product.looked, into="tries", pick=["0", "1"]) == 303
    assert await sitting.step("try", what="tries") == 303
    run = once(sitting.console.desk.runs, sitting.product.tried or "", over)
    assert (run.asked.job, run.settings()["images"], run.settings()["artifact"]) == (
        "inspect", str(folder / "tries"), FITTED["artifact"],
    )  # fmt: skip
    assert len(await asyncio.to_thread(os.listdir, folder / "tries")) == 2
    page = (await sitting.page()).split('id="try"')[1]
    for said in (
        "1.40 of the threshold",
        "absent <small>screw-2</small>",
        "140 %",
        "<b>absent</b>",
        "no part stands out",
    ):
        assert said in page, said
    assert page.index("140 %") < page.index("50 %")
    assert await sitting.step("try", what="examples") == 422
    assert "there is no picture to try: choose some first" in sitting.browser.seen
    assert (await send(sitting, PNG, "gone.png", into="screw-2/absent"))[0] == 200
    assert await sitting.step("try", what="examples") == 303
    run = once(sitting.console.desk.runs, sitting.product.tried or "", over)
    assert run.settings()["images"] == str(folder / "regions/examples")


async def test_named_regions_are_checked_on_the_picture_that_was_shown(sitting: Sitting, roots: Path) -> None:
    results = {"look-over": {**LOOKED, "parts": LIE}, "fit": FITTED}
    (sitting.results / "results.json").write_text(json.dumps(results))
    run = await looked(sitting, roots)
    (run.folder / "gallery").mkdir()
    (run.folder / "gallery" / "alignment.safetensors").write_bytes(b"learnt")
    assert await sitting.step("regions", **SCREW) == 422
    assert "the picture is another one than when the page was loaded" in sitting.browser.seen
    upright = {**SCREW, "canvas": "upright 163 128", "name-1": "screw-2", "polygon-1": "1,1 200,1 1,50"}
    assert await sitting.step("regions", **upright) == 422
    page = sitting.browser.seen
    assert "another region has this name already" in page
    assert "a corner lies outside the picture of 163 × 128 pixels" in page
    assert 'value="screw-2"' in page, "what was written stays in its field"
    assert sitting.product.regions is None
    assert await sitting.step("regions", **{**upright, "remove-1": "1"}) == 303
    assert (sitting.product.drawn_on, "screw-2" in await sitting.page()) == ("upright", True)
    assert await sitting.step("regions", canvas="upright 163 128") == 303
    assert (sitting.product.regions, sitting.product.drawn_on) == (None, None)
