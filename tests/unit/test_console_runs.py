"""Jobs that pages start: one at a time, followed whatever becomes of the console, stopped when somebody asks."""

from pathlib import Path

import pytest
from console_desk import Console, plant_in
from told_jobs import NOW, once, told_runs, wish

from neverblink.console.access.audit import entries
from neverblink.console.access.roles import Role
from neverblink.console.runs.book import KEPT, Run, RunError, Runs
from neverblink.console.runs.run_folder import ALIVE, NOISE, STATE, held


def ended(run: Run) -> bool:
    return not run.running


def has_begun(run: Run) -> bool:
    return bool(run.state.stages)


def test_a_job_is_followed_to_its_result(tmp_path: Path) -> None:
    runs = told_runs(tmp_path)
    begun = runs.start(wish(stages=["first", "second"], result={"promise": "kept"}), "ann", "new lamp", NOW)
    assert (begun.running, begun.asked.who, begun.asked.why) == (True, "ann", "new lamp")
    run = once(runs, begun.id, ended)
    assert (run.state.status, run.state.exit_code, run.result()) == ("done", 0, {"promise": "kept"})
    assert [(one.name, one.done, one.total) for one in run.state.stages] == [("first", 1, 2), ("second", 1, 2)]
    assert [one.id for one in runs.newest()] == [run.id]


def test_how_a_job_ends_is_told_apart(tmp_path: Path) -> None:
    runs = told_runs(tmp_path)
    bad = once(runs, runs.start(wish(code=1), "ann", "", NOW).id, ended)
    assert (bad.state.status, bad.result()) == ("bad", {"promise": "kept"})
    failed = once(runs, runs.start(wish(error="there is no folder x"), "ann", "", NOW).id, ended)
    assert (failed.state.status, failed.state.error, failed.result()) == ("failed", "there is no folder x", None)
    lost = once(runs, runs.start(wish(killed=True), "ann", "", NOW).id, ended)
    assert (lost.state.status, lost.result()) == ("lost", None)


def test_another_job_waits_until_the_one_that_runs_has_ended_and_a_second_console_too(tmp_path: Path) -> None:
    runs = told_runs(tmp_path)
    first = runs.start(wish(stages=["on"], until=str(tmp_path / "go")), "ann", "", NOW)
    beside = Runs(tmp_path / "work", command=runs._command)
    for one in (runs, beside):
        with pytest.raises(RunError, match="fit for pcb, by ann, still runs"):
            one.start(wish(), "bob", "", NOW)
    (tmp_path / "go").touch()
    once(runs, first.id, ended)
    once(runs, beside.start(wish(), "bob", "", NOW).id, ended)


def test_a_console_that_begins_again_finds_the_job_and_stops_it(tmp_path: Path) -> None:
    before = told_runs(tmp_path)
    begun = before.start(wish(stages=["on"], until=str(tmp_path / "never")), "ann", "", NOW)
    after = Runs(tmp_path / "work", command=before._command)
    found = once(after, begun.id, has_begun)
    assert (found.running, found.asked.who) == (True, "ann")
    after.cancel(found)
    assert once(after, begun.id, ended).state.status == "stopped"


def test_a_job_that_does_not_listen_is_ended_all_the_same(tmp_path: Path) -> None:
    runs = told_runs(tmp_path, grace_s=0.2)
    begun = runs.start(wish(stages=["on"], deaf=True, until=str(tmp_path / "never")), "ann", "", NOW)
    runs.cancel(once(runs, begun.id, has_begun))
    assert once(runs, begun.id, ended).state.status == "stopped"


def test_what_a_job_says_beside_its_lines_is_kept_in_part(tmp_path: Path) -> None:
    runs = told_runs(tmp_path)
    run = once(runs, runs.start(wish(noise="x" * 300_000 + "the end", error="no"), "ann", "", NOW).id, ended)
    assert run.noise().endswith("the end")
    assert (run.folder / NOISE).stat().st_size <= 64 * 1024


def test_damaged_folders_and_odd_names_are_no_runs(tmp_path: Path) -> None:
    runs = told_runs(tmp_path)
    run = once(runs, runs.start(wish(), "ann", "", NOW).id, ended)
    (run.folder / STATE).write_text("{")
    assert (runs.newest(), runs.find(run.id)) == ([], None)
    assert runs.find("../work") is None


def test_the_oldest_that_have_ended_go_and_what_lives_stays(tmp_path: Path) -> None:
    runs = told_runs(tmp_path)
    old = [tmp_path / "work" / "runs" / f"20250101-0000{number % 60:02d}-{number:08x}" for number in range(KEPT + 3)]
    for folder in old:
        folder.mkdir(parents=True)
    oldest = sorted(old)[:4]
    lock = held(oldest[0] / ALIVE)
    once(runs, runs.start(wish(), "ann", "", NOW).id, ended)
    assert lock is not None
    assert [folder.exists() for folder in oldest] == [True, False, False, False]


@pytest.mark.usefixtures("quick_hashing")
async def test_a_page_follows_a_job_and_stops_it_and_the_audit_knows_who(tmp_path: Path) -> None:
    runs = told_runs(tmp_path)
    async with Console(plant_in(tmp_path), runs=runs) as console:
        console.account("ann", Role.ENGINEER, ("line-1",))
        console.account("bob", Role.ENGINEER, ("line-2",))
        ann, bob = console.browser(), console.browser()
        await ann.sign_in("ann")
        await bob.sign_in("bob")
        begun = runs.start(wish(stages=["extracting features"], until=str(tmp_path / "never")), "ann", "", NOW)
        once(runs, begun.id, has_begun)
        page = (await ann.get(f"/runs/{begun.id}")).text
        assert "looking at the pictures through the network" in page
        assert f'hx-get="/runs/{begun.id}/state' in page
        for path in (f"/runs/{begun.id}", f"/runs/{begun.id}/state"):
            assert (await bob.http.get(path)).status_code == 404, "of another line"
        assert begun.id not in (await bob.get("/runs")).text
        assert (await bob.post(f"/runs/{begun.id}/cancel")).status_code == 404
        await ann.get(f"/runs/{begun.id}")
        assert (await ann.post(f"/runs/{begun.id}/cancel", {"meaning": "wrong folder"})).status_code == 303
        once(runs, begun.id, ended)
        over = await ann.http.get(f"/runs/{begun.id}/state?whole=1")
        assert over.headers["hx-refresh"] == "true"
        assert "hx-get" not in over.text
        assert begun.id in (await ann.get("/runs")).text
        with console.access.reading() as connection:
            (told,) = [one for one in entries(connection) if one.action == "run.cancel"]
        assert (told.who, told.subject, told.meaning) == ("ann", begun.id, "wrong folder")
