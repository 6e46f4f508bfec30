"""`ledger serve` as others meet it: over a real socket, with TLS, by the guide's own programs, by hostile ones."""

import asyncio
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from kept_parts import NOON, all_events, events_of, made_parts

from neverblink.brokers.apache import free_port
from neverblink.http_serving.server import ServeError
from neverblink.ledger.api.serving import serve
from neverblink.ledger.api.tokens import make_token
from neverblink.ledger.writing import keep
from neverblink.plant import EXAMPLE, LedgerApi, Plant, load_plant
from neverblink.records.database import Database
from rigs.application_certificates import certificate
from rigs.many_parts import Crowd, fill

GUIDE = Path(__file__).resolve().parents[2] / "docs/guides/mes.md"
MADE = made_parts(60)
CHECKS = (
    "not_a_server_error", "status_code_conformance", "content_type_conformance", "response_schema_conformance",
)  # fmt: skip


def plant_in(folder: Path, **api: object) -> Plant:
    (folder / "plant.yaml").write_text(EXAMPLE)
    plant = load_plant(folder / "plant.yaml")
    settings = LedgerApi.model_validate({"port": free_port(), "tokens": folder / "tokens.json", **api})
    return plant.model_copy(update={"records": plant.records.model_copy(update={"api": settings})})


@contextmanager
def served(plant: Plant) -> Iterator[str]:
    """Serve in a thread of its own; gives the address."""
    loop, stop = asyncio.new_event_loop(), asyncio.Event()
    failed: list[BaseException] = []

    def run() -> None:
        try:
            loop.run_until_complete(serve(plant, stop))
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    api = plant.records.api
    address = f"{'http' if api.cert_file is None else 'https'}://127.0.0.1:{api.port}"
    give_up = time.monotonic() + 30
    try:
        while True:
            try:
                httpx.get(f"{address}/livez", verify=False)
                break
            except httpx.TransportError:
                assert not failed, failed
                assert time.monotonic() < give_up
                time.sleep(0.05)
        yield address
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(30)
        assert not thread.is_alive()
        loop.close()
    assert not failed


def environment(address: str, token: str) -> dict[str, str]:
    return {**os.environ, "LEDGER_URL": address, "LEDGER_TOKEN": token}


def program(language: str) -> str:
    """Return the guide's program in a language."""
    found = re.findall(rf"```{language}\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    assert len(found) == 1
    return str(found[0])


def test_the_guides_programs_work_as_they_stand(tmp_path: Path) -> None:
    plant = plant_in(tmp_path)
    database = Database(plant.storage.ledger, create=True)
    keep(database, all_events(MADE), NOON)
    database.close()
    token = make_token(plant.records.api.tokens, "mes", NOON).text
    rejects = [one.serial for one in MADE if one.decision == "reject"]
    with served(plant) as address:
        where = {"env": environment(address, token), "cwd": tmp_path, "text": True, "timeout": 60}
        told = subprocess.run([sys.executable, "-c", program("python")], capture_output=True, check=True, **where)  # type: ignore[call-overload]
        assert [line.split()[0] for line in told.stdout.splitlines()] == rejects
        if shutil.which("curl"):
            told = subprocess.run(["sh", "-c", program("sh")], capture_output=True, check=True, **where)  # type: ignore[call-overload]
            assert '"decision":"reject"' in told.stdout
        if shutil.which("node"):
            (tmp_path / "follow.mjs").write_text(program("js"))
            where["env"]["FOLLOW_ONCE"] = "1"
            for expected in (len(MADE), 0):
                told = subprocess.run(["node", "follow.mjs"], capture_output=True, check=True, **where)  # type: ignore[call-overload]
                assert len(told.stdout.splitlines()) == expected


def test_with_a_certificate_it_speaks_tls_alone(tmp_path: Path) -> None:
    cert, key = certificate(tmp_path, "records", pem=True)
    plant = plant_in(tmp_path, cert_file=cert, key_file=key)
    Database(plant.storage.ledger, create=True).close()
    with served(plant) as address:
        assert httpx.get(f"{address}/livez", verify=False).json()["status"] == "alive"
        with pytest.raises(httpx.TransportError):
            httpx.get(f"{address.replace('https', 'http')}/livez")


async def test_an_address_that_is_taken_is_told_in_a_sentence(tmp_path: Path) -> None:
    plant = plant_in(tmp_path)
    Database(plant.storage.ledger, create=True).close()
    taken = await asyncio.start_server(lambda *_: None, "127.0.0.1", plant.records.api.port)
    with pytest.raises(ServeError, match="cannot listen at"):
        await serve(plant, asyncio.Event())
    taken.close()


@pytest.mark.plant
@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_an_mes_in_another_language_meets_each_of_a_hundred_thousand_parts_while_the_line_runs(
    tmp_path: Path, kind: str, request: pytest.FixtureRequest
) -> None:
    if shutil.which("node") is None:
        pytest.skip("there is no Node.js here")
    plant = plant_in(tmp_path)
    if kind == "postgresql":
        url = request.getfixturevalue("postgresql")
        plant = plant.model_copy(update={"storage": plant.storage.model_copy(update={"ledger": url})})
    crowd = Crowd(133_336)
    fill(plant.storage.ledger, crowd)
    token = make_token(plant.records.api.tokens, "mes", NOON).text
    database = Database(plant.storage.ledger, create=True)
    (tmp_path / "follow.mjs").write_text(program("js"))
    running = made_parts(200, seed=9, begin=NOON + timedelta(days=1))
    with served(plant) as address:
        mes = subprocess.Popen(
            ["node", "follow.mjs"], env=environment(address, token), cwd=tmp_path, stdout=subprocess.PIPE, text=True
        )
        lines: list[str] = []
        assert mes.stdout is not None
        reader = threading.Thread(target=lambda: lines.extend(iter(mes.stdout.readline, "")))  # type: ignore[union-attr]
        reader.start()
        for part in running:  # while it reads the past
            keep(database, [next(iter(events_of(part)))], NOON)
        _until(lambda: len(_met(lines)) == crowd.parts + len(running), "not every part was met")
        for part in running:  # what the line says of parts that it has met: all of them change
            for event in list(events_of(part))[1:]:
                keep(database, [event], NOON)
        with database.session() as session:
            found = session.connection().exec_driver_sql("SELECT id, revision FROM parts")
            latest = {row[0]: row[1] for row in found}
        _until(lambda: _met(lines) == latest, "a part or its last change is missing")
        mes.terminate()
        mes.wait(20)
        reader.join(20)
    database.close()
    changes = [tuple(map(int, line.split()[:2])) for line in lines]
    assert len(latest) == crowd.parts + len(running) > 100_000
    assert len(set(changes)) == len(changes), "a change came twice"
    assert [revision for _, revision in changes] == sorted(revision for _, revision in changes)
    assert len(changes) > len(latest), "no change of a part that it had met was met again"


def _met(lines: list[str]) -> dict[int, int]:
    """Return the parts of which a program has told, each with the last revision."""
    return {int(number): int(revision) for number, revision, *_ in map(str.split, list(lines))}


def _until(happened: Callable[[], bool], otherwise: str) -> None:
    give_up = time.monotonic() + 300
    while not happened():
        assert time.monotonic() < give_up, otherwise
        time.sleep(0.5)


@pytest.mark.plant
@pytest.mark.timeout(600)
def test_requests_that_a_generator_makes_of_the_document_find_no_fault(tmp_path: Path) -> None:
    beside = Path(sys.executable).parent  # the environment's programs need not be on the path
    found = shutil.which("schemathesis", path=f"{beside}{os.pathsep}{os.environ.get('PATH', '')}")
    if found is None:
        pytest.skip("schemathesis is not installed")
    plant = plant_in(tmp_path)
    database = Database(plant.storage.ledger, create=True)
    keep(database, all_events(MADE), NOON)
    database.close()
    token = make_token(plant.records.api.tokens, "mes", NOON).text
    with served(plant) as address:
        ran = subprocess.run(
            [found, "run", f"{address}/openapi.json", "--header", f"Authorization: Bearer {token}",
             "--checks", ",".join(CHECKS), "--phases", "examples,coverage,fuzzing", "--max-examples", "12",
             "--seed", "18", "--no-color"],
            capture_output=True, text=True, timeout=540, cwd=tmp_path,
        )  # fmt: skip
    assert ran.returncode == 0, ran.stdout[-4000:]
