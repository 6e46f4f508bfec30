"""A new product's steps: where pictures may come from, what is left out, where is looked, and which jobs follow."""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from onboarding_sitting import FITTED, LIE, LOOKED, PNG, Sitting, archive, looked, over, roots, send, sitting
from told_jobs import once

from neverblink.console.access.audit import entries
from neverblink.console.access.roles import Role
from neverblink.console.onboarding.products import NewProducts, OnboardingError
from neverblink.console.onboarding.sources import Receiving, folder_below, plain_path
from neverblink.console.onboarding.steps import ALIGNS, left_out, region_of, region_text
from neverblink.console.words import WORDS

__all__ = ["roots", "sitting"]


async def test_from_a_folder_to_a_model_and_another_promise(sitting: Sitting, roots: Path) -> None:
    run = await looked(sitting, roots)
    assert (run.asked.job, run.settings()["images"]) == ("look-over", str(roots / "pcb"))
    page = await sitting.page()
    assert "darker" in page
    assert "copy of 000.png" in page
    assert "003.png" not in page, "what is like the others is not in the way"
    assert "61 of them count" in page
    chosen = {"looked": sitting.product.looked, "shown": "1 2", "out": ["1"]}
    assert await sitting.step("left-out", **chosen) == 303
    assert sitting.product.left_out == ("dark.png",)
    assert await sitting.step("region", region="in: 10,10 90,10 90,90\nout: 20,20 30,20 30,30") == 303
    assert await sitting.step("fit", size="256", promise="5") == 303
    fit = once(sitting.console.desk.runs, sitting.product.models[0], over)
    settings = fit.settings()
    assert settings["exclude"] == [str(roots / "pcb" / "dark.png")]
    assert settings["region"]["inside"] == [[[0.1, 0.1], [0.9, 0.1], [0.9, 0.9]]]
    assert (settings["false_reject"], settings["skip_unusable"], settings["size"]) == (0.05, True, 256)
    page = await sitting.page()
    assert "at most 5 % of good parts are rejected" in page
    assert "3.00 of the threshold" in page
    assert "make it anew" not in page
    assert await sitting.step("left-out", looked=sitting.product.looked, of="fit", shown="0", out=["0"]) == 303
    assert sitting.product.left_out == ("dark.png", "005.png")
    assert "have changed since this model was made" in await sitting.page()
    assert await sitting.step("threshold", row="0.1") == 303
    again = once(sitting.console.desk.runs, sitting.product.models[1], over)
    assert (again.asked.job, again.settings()["false_reject"], again.settings()["artifact"]) == (
        "calibrate", 0.1, "/models/pcb",
    )  # fmt: skip
    assert again.settings()["out"] != settings["out"]


async def test_how_parts_lie_is_shown_and_chosen_and_the_fit_is_told(sitting: Sitting, roots: Path) -> None:
    jobs = sitting.console.desk.runs
    run = await looked(sitting, roots)
    assert run.settings()["align"] == "auto"
    assert "has not been looked at yet how these parts lie" in await sitting.page()
    (sitting.results / "results.json").write_text(json.dumps({"look-over": {**LOOKED, "parts": LIE}, "fit": FITTED}))
    run = await looked(sitting, roots)
    chosen = {"looked": sitting.product.looked, "shown": "1", "out": ["1"]}
    assert await sitting.step("left-out", **chosen) == 303
    page = await sitting.page()
    assert "A part is found in 62 of 64 pictures" in page
    assert "turned by -37.2°, middle at 101, 88, fits 91 %" in page
    assert f"run={run.id}&amp;file=upright-00.jpg" in page
    assert "two parts lie there" in page
    assert "no part stands out" not in page, "what is left out is no failure"
    assert await sitting.step("align", align="sideways") == 422
    assert await sitting.step("align", align="none") == 303
    assert sitting.product.looked == run.id, "what is not aligned needs no job"
    assert "finds fewer defects" in await sitting.page()
    assert await sitting.step("align", align="silhouette") == 303
    again = once(jobs, sitting.product.looked or "", over)
    assert (again.id != run.id, again.settings()["align"], again.settings()["apart"]) == (
        True, "silhouette", ["dark.png"],
    )  # fmt: skip
    assert await sitting.step("fit", size="256") == 303
    fit = once(jobs, sitting.product.models[-1], over)
    assert fit.settings()["align"] == "silhouette"
    assert "make it anew" not in await sitting.page()
    assert await sitting.step("align", align="none") == 303
    assert "make it anew" in await sitting.page()
    with sitting.console.access.reading() as connection:
        told = [one.detail for one in entries(connection) if one.action == "onboarding.align"]
    assert told == ['{"align":"none"}', '{"align":"silhouette"}', '{"align":"none"}']


async def test_what_is_drawn_on_an_upright_picture_stays_on_it(sitting: Sitting, roots: Path) -> None:
    jobs = sitting.console.desk.runs
    (sitting.results / "results.json").write_text(json.dumps({"look-over": {**LOOKED, "parts": LIE}, "fit": FITTED}))
    assert await sitting.step("region", region="in: 10,10 90,10 90,90") == 422
    assert "no picture to draw upon" in sitting.browser.seen
    run = await looked(sitting, roots)
    assert await sitting.step("region", region="in: 10,10 90,10 90,90") == 422
    assert "the alignment cannot be kept" in sitting.browser.seen
    (run.folder / "gallery").mkdir()
    (run.folder / "gallery" / "alignment.safetensors").write_bytes(b"learnt")
    assert "file=upright.jpg" in await sitting.page()
    assert await sitting.step("region", region="in: 10,10 90,10 90,90") == 303
    assert sitting.product.drawn_on == "upright"
    assert await sitting.step("align", align="none") == 422
    assert "regions are drawn on this picture: remove them first" in sitting.browser.seen
    again = await looked(sitting, roots)
    kept = again.settings()["alignment"]
    own = NewProducts(sitting.console.plant.console.work).folder(sitting.name)
    assert kept == str(own / "alignment.safetensors")
    assert "alignment.safetensors" in await asyncio.to_thread(os.listdir, own)
    assert await sitting.step("fit", size="256") == 303
    assert once(jobs, sitting.product.models[-1], over).settings()["alignment"] == kept
    assert await sitting.step("region", region="") == 303
    assert sitting.product.drawn_on is None
    assert await sitting.step("align", align="none") == 303
    assert await sitting.step("region", region="in: 10,10 90,10 90,90") == 303
    assert sitting.product.drawn_on == "camera"
    assert await sitting.step("fit", size="256") == 303
    settings = once(jobs, sitting.product.models[-1], over).settings()
    assert (settings["align"], settings.get("alignment")) == ("none", None)


def test_every_way_to_find_parts_is_said_in_words() -> None:
    assert set(ALIGNS) - WORDS["align"].keys() == set()


async def test_nothing_is_offered_to_an_engineer_of_another_line(sitting: Sitting, roots: Path) -> None:
    run = await looked(sitting, roots)
    console = sitting.console
    console.account("bob", Role.ENGINEER, ("line-9",))
    bob = console.browser()
    await bob.sign_in("bob")
    assert sitting.name not in (await bob.get("/onboarding")).text
    for path in ("", "/regions/a", "/chosen?into=tries&file=a.png", f"/picture?run={run.id}&file=00001.jpg"):
        assert (await bob.http.get(f"/onboarding/{sitting.name}{path}")).status_code == 404
    for step in (
        "source",
        "left-out",
        "align",
        "region",
        "regions",
        "chosen",
        "try",
        "fit",
        "threshold",
        "golden",
        "activate",
        "remove",
    ):
        await bob.get("/onboarding")
        assert (await bob.post(f"/onboarding/{sitting.name}/{step}", {"kind": "upload"})).status_code == 404, step
    await bob.get("/onboarding")
    answer = await bob.post("/onboarding", {"product": "pcb", "line": console.desk.lines[0]})
    assert answer.status_code == 422


async def test_pictures_of_a_run_are_shown_and_nothing_beside_them(sitting: Sitting, roots: Path) -> None:
    run = await looked(sitting, roots)
    (run.folder / "gallery").mkdir()
    (run.folder / "gallery" / "00001.jpg").write_bytes(b"\xff\xd8\xff")
    here = f"/onboarding/{sitting.name}/picture"
    answer = await sitting.browser.http.get(f"{here}?run={run.id}&file=00001.jpg")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/jpeg")
    for wrong in (
        f"run={run.id}&file=../asked.json",
        "run=20250101-000000-00000000&file=00001.jpg",
        "run=..&file=a.jpg",
    ):
        assert (await sitting.browser.http.get(f"{here}?{wrong}")).status_code == 404


async def test_an_upload_is_kept_within_its_bounds_and_what_is_no_picture_is_refused(sitting: Sitting) -> None:
    assert (await send(sitting, PNG, "x.png", mark="wrong"))[0] == 403
    assert await send(sitting, PNG, "lot 7/ä.png") == (200, {"kept": 1, "passed_over": 0})
    assert await send(sitting, b"<html>", "x.png") == (
        422, {"fault": "x.png is no picture: PNG, JPEG, BMP, TIFF, WebP or a ZIP of them"},
    )  # fmt: skip
    status, said = await send(sitting, PNG + b"x" * 2**20, "x.png")
    assert (status, said["fault"]) == (422, "the upload is larger than 1 MiB: send it in parts")
    kept = NewProducts(sitting.console.plant.console.work).pictures(sitting.name)
    assert [path.relative_to(kept).as_posix() for path in kept.rglob("*.*")] == ["lot_7/picture.png"]
    assert sitting.product.source == "upload"
    assert [path.name for path in kept.parent.iterdir() if path.name.startswith(".upload")] == []


async def test_steps_say_in_words_what_is_missing(sitting: Sitting, roots: Path) -> None:
    assert await sitting.step("fit", size="256") == 422
    assert "first say where the pictures come from" in sitting.browser.seen
    assert await sitting.step("source", kind="folder", folder=str(roots.parent / "elsewhere")) == 422
    assert "among those that pictures may be taken from" in sitting.browser.seen
    assert await sitting.step("activate", station="line-1/top") == 422
    assert await sitting.step("region", region="in: 1,1 2,2") == 422
    assert await sitting.step("remove") == 303
    assert (await sitting.browser.get(f"/onboarding/{sitting.name}")).status_code == 404
    with sitting.console.access.reading() as connection:
        told = [one.action for one in entries(connection) if one.subject == sitting.name]
    assert told == ["onboarding.begin", "onboarding.remove"]


def test_a_folder_lies_below_a_root_or_is_refused(roots: Path) -> None:
    assert folder_below([roots], str(roots / "pcb")) == roots / "pcb"
    assert folder_below([roots], "pcb") == roots / "pcb"
    for wrong in ("..", "../elsewhere", "link", "/etc", "no", "pcb/../../elsewhere", "\x00"):
        with pytest.raises(OnboardingError):
            folder_below([roots], wrong)


@given(st.text(max_size=300))
def test_no_name_of_an_upload_leads_out_of_its_folder(name: str) -> None:
    found = plain_path(f"{name}.png")
    assert found is not None
    assert not found.is_absolute()
    assert not any(part.startswith(".") for part in found.parts)


async def stream(content: bytes) -> AsyncIterator[bytes]:
    yield content


async def test_an_archive_keeps_its_folders_and_cannot_leave_its_own_or_fill_the_disk(tmp_path: Path) -> None:
    pictures = tmp_path / "one" / "pictures"
    pictures.mkdir(parents=True)
    receiving = Receiving(pictures, tmp_path, 2**20, 2**20)
    packed = archive(
        {
            "../../../evil.png": PNG,
            "train/good/1.png": PNG,
            "/abs/2.png": PNG + b"2",
            "note.txt": b"x",
            "fake.png": b"no",
            "empty.png": b"",
        }
    )
    done = await receiving.receive("all.zip", stream(packed))
    assert (done.kept, done.passed_over) == (3, 3)
    assert {path.relative_to(pictures).as_posix() for path in pictures.rglob("*.png")} == {
        "evil.png", "train/good/1.png", "abs/2.png",
    }  # fmt: skip
    with pytest.raises(OnboardingError, match="no more room"):
        await receiving.receive("bomb.zip", stream(archive({"bomb.png": PNG + bytes(8 * 2**20)})))
    with pytest.raises(OnboardingError, match="damaged"):
        await receiving.receive("cut.zip", stream(packed[:80]))
    assert {path.name for path in pictures.parent.iterdir()} == {"pictures"}
    again = await receiving.receive("1.png", stream(PNG + b"another"))
    same = await receiving.receive("1.png", stream(PNG + b"a third"))
    assert (again.kept, same.kept, len(list(pictures.glob("1*.png")))) == (1, 1, 2)


SHARE = st.floats(0, 1).map(lambda value: round(value, 3))


@given(
    st.lists(
        st.tuples(st.sampled_from(["in", "out"]), st.lists(st.tuples(SHARE, SHARE), min_size=3, max_size=5)), max_size=3
    )
)
def test_a_region_that_is_taken_is_drawn_the_same_again(shapes: list[tuple[str, list[tuple[float, float]]]]) -> None:
    text = "\n".join(f"{kind}: {' '.join(f'{x * 100:g},{y * 100:g}' for x, y in corners)}" for kind, corners in shapes)
    try:
        region = region_of(text)
    except OnboardingError:
        return
    assert region_of(region_text(region)) == region


def test_of_the_pictures_that_were_shown_the_chosen_are_left_out_and_others_stay_as_they_were() -> None:
    assert left_out(("a", "b"), ("b", "c"), ("c",)) == ("a", "c")
    with pytest.raises(OnboardingError, match="the most that can be left out"):
        left_out((), (), tuple(map(str, range(1001))))
