"""The bridge against node-opcua, a server that shares no code with the library that we use."""

import asyncio
import contextlib
import json
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from neverblink.bridge.instruments import instruments
from neverblink.bridge.line_session import LineSession
from neverblink.bridge.line_status import LinkState
from neverblink.bridge.plc_browse import browse_lines
from neverblink.bridge.profiles import profile_of
from neverblink.bridge.scheduler import Answer, Order
from neverblink.events import Outcome
from neverblink.plant import Line, Plc, SimulatedSource, Station, Timing
from neverblink.plant import PlcTrigger as TriggerSettings
from neverblink.plc.contract import CONTRACT_VERSION, PROFILES, REJECT, BridgeState, Writer, element_name
from neverblink.plc.errors import PlcError, PlcFullError, PlcRefusedError, PlcUnreachableError
from neverblink.plc.opening import connect
from neverblink.plc.trigger import PlcTrigger, triggers
from neverblink.plc.validation import validate
from rigs.application_certificates import certificate

HERE = Path(__file__).parent / "node"
SLOTS = 8
OPEN = {"policy": "None", "allow_insecure": True}
TIMING = Timing(distance_to_gate_m=0.8, speed_m_s=1.0, actuator_ms=100, plc_cycle_ms=20, margin_ms=50)

if shutil.which("node") is None:
    pytest.skip("there is no Node.js here", allow_module_level=True)
if not (HERE / "node_modules" / "node-opcua").is_dir():
    pytest.skip("node-opcua is not installed: `make test` does so where npm has a registry", allow_module_level=True)


def table(
    types: dict[str, str] | None = None,
    read_only: frozenset[str] = frozenset(),
    absent: frozenset[str] = frozenset(),
    profile: str = "verdict-table",
) -> list[dict[str, Any]]:
    """Return the profile's nodes as the server takes them, with the mistakes asked for."""
    values = {"ContractVersion": CONTRACT_VERSION, "Epoch": 1, "SlotCount": SLOTS, "LeadMs": 800, "LastTriggered": 3}
    wanted = PROFILES[profile]
    slots = (
        [replace(wanted.each, name=element_name(wanted.each, index)) for index in range(wanted.count or SLOTS)]
        if wanted.each is not None
        else []
    )
    return [
        {
            "name": entry.name,
            "id": f"s=VisionReject.{entry.name}",
            "type": (types or {}).get(entry.name, entry.type),
            "writable": entry.writer is Writer.BRIDGE and entry.name not in read_only,
            "value": [0] * entry.length
            if entry.length
            else values.get(entry.name, False if entry.type == "Boolean" else 0),
        }
        for entry in (*wanted.nodes, *slots)
        if entry.name not in absent
    ]


@dataclass
class NodeServer:
    """node-opcua as a process, on a free port that it keeps over a restart."""

    folder: Path
    nodes: list[dict[str, Any]] = field(default_factory=table)
    method: dict[str, Any] | None = None
    max_sessions: int = 10
    password: str | None = None
    port: int = 0
    process: asyncio.subprocess.Process | None = None

    def __post_init__(self) -> None:
        self.certificate, self.key = certificate(self.folder, "plc", pem=True)
        self.ours, self.our_key = certificate(self.folder, "bridge")
        self.pki = self.folder / "pki"

    @property
    def endpoint(self) -> str:
        return f"opc.tcp://127.0.0.1:{self.port}"

    def trust_us(self) -> None:
        trusted = self.pki / "trusted" / "certs"
        trusted.mkdir(parents=True, exist_ok=True)
        shutil.copy(self.ours, trusted / "bridge.der")

    async def start(self) -> None:
        wanted = {
            "port": self.port,
            "pki": str(self.pki),
            "certificate": str(self.certificate),
            "key": str(self.key),
            "namespace": "urn:neverblink:plc",
            "nodes": self.nodes,
            "method": self.method,
            "maxSessions": self.max_sessions,
            "password": self.password,
        }
        with (self.folder / "server.log").open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                "node", str(HERE / "server.js"), json.dumps(wanted),
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=log,
            )  # fmt: skip
        assert self.process.stdout is not None
        async with asyncio.timeout(60):
            while not (said := await self.process.stdout.readline()).strip().isdigit():
                assert said, (self.folder / "server.log").read_text()
        self.port = int(said)

    async def obey(self, **order: Any) -> None:
        """Have the server do something to its nodes or subscriptions, and wait until it has."""
        assert self.process is not None
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(order).encode() + b"\n")
        async with asyncio.timeout(20):
            await self.process.stdin.drain()
            while (said := await self.process.stdout.readline()) != b"done\n":  # it logs there too
                assert said, (self.folder / "server.log").read_text()

    async def kill(self) -> None:
        if self.process is not None and self.process.returncode is None:
            self.process.send_signal(signal.SIGKILL)
            await self.process.wait()

    def secure(self, policy: str = "Basic256Sha256", **changes: Any) -> dict[str, Any]:
        pinned = {"policy": policy, "certificate": self.ours, "key": self.our_key, "plc_certificate": self.certificate}
        return {name: value for name, value in {**pinned, **changes}.items() if value is not None}

    def plc(self, security: dict[str, Any], **changes: Any) -> Plc:
        return Plc.model_validate({"endpoint": self.endpoint, "security": security, **changes})


@contextlib.asynccontextmanager
async def served(folder: Path, *, trusting: bool = True, **settings: Any) -> AsyncIterator[NodeServer]:
    server = NodeServer(folder, **settings)
    if trusting:
        server.trust_us()
    try:
        await server.start()
        yield server
    finally:
        await server.kill()


async def refusal(settings: Plc) -> PlcError:
    """Return what the PLC is refused for; on a stalled machine it may first be one that does not answer in time."""
    for _ in range(30):
        with pytest.raises(PlcError) as caught:
            async with connect(settings, "test") as connection:
                await validate(connection)
        if "does not answer within" not in str(caught.value):
            break
    return caught.value


async def until(condition: Callable[[], bool], within_s: float) -> None:
    for _ in range(int(within_s / 0.05)):
        if condition():
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"it did not happen within {within_s:g} s")


@contextlib.asynccontextmanager
async def bridged(plc: Plc) -> AsyncIterator[LineSession]:
    station = Station(
        name="top",
        product="pcb",
        source=SimulatedSource(kind="simulated", drawing="pcb"),
        trigger=TriggerSettings(kind="plc"),
    )
    line = Line(name="line-1", timing=TIMING, plc=plc, stations=(station,))
    session, stop = LineSession(line, lambda event, trace: None, instruments()), asyncio.Event()
    running = asyncio.create_task(session.run(stop))
    try:
        yield session
    finally:
        stop.set()
        await asyncio.wait_for(running, 10)


async def test_both_policies_sign_encrypt_and_write_as_a_named_user(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    caplog.set_level("DEBUG", "neverblink")
    (tmp_path / "good").write_text("correct-horse\n")
    (tmp_path / "bad").write_text("wrong-battery\n")
    async with served(tmp_path, password="correct-horse") as server:
        user = {"username": "bridge", "password_file": tmp_path / "good"}
        for policy in ("Basic256Sha256", "Aes256Sha256RsaPss"):
            async with connect(server.plc(server.secure(policy, **user)), "test") as connection:
                assert (await validate(connection)).slots == SLOTS
                assert await connection.write({"Verdict[1]": 7, "BridgeHb": 2}) == {
                    "Verdict[1]": None,
                    "BridgeHb": None,
                }
                assert await connection.read(["Verdict[1]", "BridgeHb"]) == {"Verdict[1]": 7, "BridgeHb": 2}

        bad = server.secure(username="bridge", password_file=tmp_path / "bad")
        error = await refusal(server.plc(bad))
        assert isinstance(error, PlcRefusedError)
        assert "does not let in user 'bridge': check username and the password file" in str(error)
        error = await refusal(server.plc(server.secure()))
        assert "does not let in an anonymous user: set username" in str(error)
    assert "correct-horse" not in caplog.text
    assert "wrong-battery" not in caplog.text


async def test_another_certificate_than_the_pinned_one_is_told_with_its_thumbprint(tmp_path: Path) -> None:
    other, _ = certificate(tmp_path, "other")
    async with served(tmp_path) as server:
        error = await refusal(server.plc(server.secure(plc_certificate=other)))
    assert isinstance(error, PlcRefusedError)
    assert "shows another certificate (plc, thumbprint" in str(error)
    assert str(other) in str(error)


async def test_a_plc_is_trusted_once_a_person_moves_its_certificate(tmp_path: Path) -> None:
    folder = tmp_path / "plcs"
    folder.mkdir()
    async with served(tmp_path) as server:
        settings = server.plc(server.secure(plc_certificate=None, trusted=folder))
        error = await refusal(settings)
        (rejected,) = (folder / "rejected").iterdir()
        assert f"then move {rejected} to {folder}" in str(error)
        rejected.rename(folder / rejected.name)
        async with connect(settings, "test") as connection:
            await validate(connection)


async def test_the_bridge_connects_by_itself_once_the_plc_trusts_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(PlcRefusedError, "retry_s", 1.0)
    async with (
        served(tmp_path, trusting=False) as server,
        bridged(server.plc(server.secure())) as session,
    ):
        await until(lambda: session.state is LinkState.REFUSED, 15)
        assert f"it does not trust {server.ours}; trust that on the PLC" in caplog.text
        rejected = list((server.pki / "rejected").iterdir())
        assert len(rejected) == 1
        trusted = server.pki / "trusted" / "certs"
        rejected[0].rename(trusted / rejected[0].name)
        await until(lambda: session.state is LinkState.READY, 15)


async def test_every_mistake_in_the_plcs_program_is_one_sentence(tmp_path: Path) -> None:
    nodes = table(
        types={"LateCount": "Int16", "Epoch": "UInt32"},
        read_only=frozenset({"BridgeHb"}),
        absent=frozenset({"Permit"}),
    )
    async with served(tmp_path, nodes=nodes) as server:
        faults = str(await refusal(server.plc(OPEN))).splitlines()
        wrong = str(await refusal(server.plc(OPEN, namespace_uri="urn:other")))
    said = sorted(fault.split(": ", 1)[0] for fault in faults)
    assert said == [
        "node s=VisionReject.BridgeHb (BridgeHb) is read-only, and the bridge must write it",
        "node s=VisionReject.Epoch (Epoch) is UInt32, the contract needs UInt16",
        "node s=VisionReject.LateCount (LateCount) is Int16, the contract needs UInt32",
        "node s=VisionReject.Permit (Permit) does not exist (BadNodeIdUnknown)",
    ]
    assert "has no namespace 'urn:other'; it has" in wrong
    assert "urn:neverblink:plc" in wrong


async def test_a_missing_slot_is_named(tmp_path: Path) -> None:
    async with served(tmp_path, nodes=table(absent=frozenset({"Verdict[3]"}))) as server:
        error = await refusal(server.plc(OPEN))
    assert str(error).startswith("node s=VisionReject.Verdict[3] (Verdict[3]) does not exist (BadNodeIdUnknown)")


async def test_a_full_plc_is_left_alone_for_a_session_timeout(tmp_path: Path) -> None:
    async with served(tmp_path, max_sessions=1) as server:
        settings = server.plc(OPEN, session_timeout_s=7)
        async with connect(settings, "first"):
            error = await refusal(settings)
        assert isinstance(error, PlcFullError)
        assert error.retry_s == 7
        assert "has no free session" in str(error)
        async with connect(settings, "second") as connection:
            await validate(connection)


async def test_a_killed_server_is_down_and_a_restarted_one_is_ready(tmp_path: Path) -> None:
    async with served(tmp_path) as server, bridged(server.plc(server.secure())) as session:
        await until(lambda: session.state is LinkState.READY, 15)
        await server.kill()
        await until(lambda: session.state is LinkState.DOWN, 5)
        await server.start()
        await until(lambda: session.state is LinkState.READY, 15)
        async with connect(server.plc(server.secure()), "test") as connection:
            await asyncio.sleep(0.5)
            said = await connection.read(["BridgeState", "BridgeHb"])
        assert said["BridgeState"] == BridgeState.READY
        assert said["BridgeHb"] > 1


ORDERS = [Order(1, 1, 2, 1e12, 0.0), Order(1, 3, 1, 1e12, 0.0)]
SILENT = {"accept_silent_pass": True}


async def told(plc: Plc, orders: list[Order]) -> list[Answer | None]:
    """Open the plant file's profile and tell these parts, as the scheduler lets it."""
    # A server's first handshake on a busy machine can take longer than we wait; the bridge tries again as well.
    for _ in range(5):
        with contextlib.suppress(PlcRefusedError, PlcUnreachableError):
            async with connect(plc, "warm up"):
                break
    async with connect(plc, "test") as connection:
        profile = await profile_of(plc).open(connection)
        await profile.state({"BridgeHb": 1})
        assert (await profile.look(0.0)).view.last_triggered == 3
        answers: list[Answer | None] = []
        for start in range(0, len(orders), profile.batch):
            batch = orders[start : start + profile.batch]
            async with asyncio.timeout(5):
                found = await profile.tell(batch, 0.0)
            answers += [found[order] for order in batch]
        return answers


async def test_the_mailbox_is_served_and_answered(tmp_path: Path) -> None:
    async with served(tmp_path, nodes=table(profile="mailbox")) as server:
        answers = await told(server.plc(server.secure(), profile="mailbox", **SILENT), ORDERS)
    assert [answer and answer.outcome for answer in answers] == [Outcome.CONFIRMED] * 2


async def test_the_method_is_called_and_a_wrong_signature_is_one_sentence(tmp_path: Path) -> None:
    nodes = table(profile="method")
    async with served(tmp_path, nodes=nodes, method={"inputs": REJECT.inputs}) as server:
        plc = server.plc(server.secure("Aes256Sha256RsaPss"), profile="method", **SILENT)
        answers = await told(plc, [*ORDERS, Order(1, 9, 2, 1e12, 0.0), Order(2, 1, 2, 1e12, 0.0)])
        assert [answer and (answer.outcome, answer.why) for answer in answers] == [
            (Outcome.CONFIRMED, None),
            (Outcome.CONFIRMED, None),
            (Outcome.FAILED, "the PLC says that this part is not on its belt"),
            (Outcome.FAILED, "the PLC says that this part belongs to another epoch"),
        ]
        wrong_object = await refusal(plc.model_copy(update={"method_object": "s=Vision"}))
        assert "the object s=Vision that has the method Reject does not exist (BadNodeIdUnknown)" in str(wrong_object)
    (tmp_path / "short").mkdir()
    async with served(tmp_path / "short", nodes=nodes, method={"inputs": REJECT.inputs[2:]}) as server:
        error = await refusal(server.plc(OPEN, profile="method", **SILENT))
    assert str(error) == (
        "method s=VisionReject.Reject (Reject) is (part UInt32, code UInt16) → (status UInt16), the contract needs"
        f" {REJECT.signature}: change its arguments in the PLC program"
    )


ABANDON = """
import asyncio, os, sys
from neverblink.plant import Plc
from neverblink.plc.opening import connect
from neverblink.plc.trigger import PlcTrigger, triggers

async def main():
    async with connect(Plc.model_validate_json(sys.argv[1]), "bridge line-1"):
        os.kill(os.getpid(), 9)

asyncio.run(main())
"""


async def test_the_session_of_a_killed_bridge_is_ended_at_once_by_the_next_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    caplog.set_level("DEBUG", "neverblink")
    sessions = tmp_path / "sessions"
    (tmp_path / "password").write_text("correct-horse\n")
    user = {"username": "bridge", "password_file": tmp_path / "password"}
    async with served(tmp_path, max_sessions=1, password="correct-horse") as server:
        plc = server.plc(server.secure(**user), session_folder=sessions)

        async def abandoned() -> None:
            killed = await asyncio.create_subprocess_exec(sys.executable, "-c", ABANDON, plc.model_dump_json())
            assert await killed.wait() == -signal.SIGKILL

        for _ in range(2):
            await abandoned()
            async with connect(plc, "bridge line-1") as connection:
                await validate(connection)
        assert "the session that bridge line-1 had left there was ended" in caplog.text
        assert not list(sessions.glob("*.session"))

        # Nobody takes the session of a bridge that lives, and without the file one waits for the time-out.
        async with connect(plc, "bridge line-1"):
            (token,) = sessions.glob("*.session")
            assert token.stat().st_mode & 0o777 == 0o600
            secret = json.loads(token.read_text())["authentication_token"]
            with pytest.raises(PlcFullError):
                async with connect(plc, "bridge line-1"):
                    pass
        assert secret not in caplog.text
        await abandoned()
        with pytest.raises(PlcFullError):
            async with connect(plc.model_copy(update={"session_folder": None}), "bridge line-1"):
                pass


async def test_a_trigger_outlives_lost_subscriptions_a_download_and_bad_values_on_a_server_of_another_make(
    tmp_path: Path,
) -> None:
    parts: list[PlcTrigger] = []
    states: list[tuple[str, str]] = []

    async def hear(plc: Plc) -> None:
        found = triggers(plc, poll_ms=20, on_state=lambda *state: states.append(state))
        async for trigger in found:
            parts.append(trigger)  # noqa: PERF401 - each is there as soon as it is heard

    def numbers() -> list[int]:
        return [part.number for part in parts]

    async def away(words: str) -> None:
        await until(lambda: any(state == "away" and words in said for state, said in states), 20)

    async with served(tmp_path) as server:
        hearing = asyncio.create_task(hear(server.plc(server.secure())))
        await until(lambda: bool(states) and states[-1][0] == "connected", 30)
        await server.obey(set={"LastTriggered": 4})
        await until(lambda: numbers() == [4], 20)

        await server.obey(drop=True)
        await server.obey(set={"LastTriggered": 6})
        await until(lambda: numbers() == [4, 5, 6], 20)
        assert any(state == "away" for state, _ in states)

        await server.obey(unload=True)
        await away("is its program stopped, or being loaded?")
        await server.obey(load={"LastTriggered": 8})
        await until(lambda: numbers() == [4, 5, 6, 7, 8], 20)

        await server.obey(set={"LastTriggered": 90}, status="BadOutOfService")
        await away("LastTriggered: BadOutOfService")
        await server.obey(set={"LastTriggered": 10})
        await until(lambda: numbers() == list(range(4, 11)), 20)
        assert [part.number for part in parts if not part.missed] == [4]

        await server.obey(set={"LastTriggered": 2})
        await away("the PLC is at part 2 of epoch 1, and part 10 of epoch 1 was seen before")
        await server.obey(set={"Epoch": 2, "LastTriggered": 1})
        await until(lambda: (parts[-1].epoch, parts[-1].number) == (2, 1), 20)
        hearing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await hearing


async def test_a_bridge_outlives_a_download_and_refuses_a_count_that_begins_anew(tmp_path: Path) -> None:
    async with served(tmp_path) as server, bridged(server.plc(server.secure())) as session:
        await until(lambda: session.state is LinkState.READY, 30)
        await server.obey(unload=True)
        await until(lambda: session.state is LinkState.REFUSED, 20)
        await server.obey(load={"LastTriggered": 5})
        await until(lambda: session.state is LinkState.READY, 20)
        await server.obey(set={"LastTriggered": 1})
        await until(lambda: session.state is LinkState.REFUSED, 20)
        assert "the PLC is at part 1 of epoch 1, and part 5 of epoch 1 was seen before" in session.sentence
        await server.obey(set={"Epoch": 2, "LastTriggered": 1})
        await until(lambda: session.state is LinkState.READY, 20)


async def test_a_foreign_server_is_looked_through_and_what_is_proposed_fits(tmp_path: Path) -> None:
    async with served(tmp_path) as server:
        plc = server.plc(server.secure(), namespace_uri="urn:not:known", node="s=Nowhere.{name}")
        station = Station(
            name="top",
            product="pcb",
            source=SimulatedSource(kind="simulated", drawing="pcb"),
            trigger=TriggerSettings(kind="plc"),
        )
        (found,) = await browse_lines([Line(name="line-1", timing=TIMING, plc=plc, stations=(station,))])
    assert found.fits, found.said
    said = [one.strip() for one in found.said]
    assert "namespace_uri: urn:neverblink:plc" in said
    assert "node: s=VisionReject.{name}" in said
    assert "slot_node: s=VisionReject.{name}[{index}]" in said
