"""A session with a PLC: what it refuses, in words that say what to do; and triggers that come from it."""

import asyncio
import contextlib
import datetime as dt
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncua.ua
import pytest

from neverblink.bridge.commands import make_certificates
from neverblink.plant import OpcUaSecurity, PlantError, Plc, Timing, load_plant, parse_plant
from neverblink.plc.certificates import read_certificate, thumbprint
from neverblink.plc.connection import PlcConnection
from neverblink.plc.errors import ContractError, PlcError, PlcRefusedError, PlcUnreachableError
from neverblink.plc.opening import connect, explained
from neverblink.plc.trigger import PlcTrigger, triggers
from neverblink.plc.validation import validate
from neverblink.simulation.plc.line import SimulatedLine
from neverblink.simulation.plc.simulated_plcs import run, simulated_lines
from neverblink.simulation.plc.simulator import PlcSimulator
from rigs.application_certificates import certificate

ua: Any = asyncua.ua
TIMING = Timing(distance_to_gate_m=0.8, speed_m_s=1.0, actuator_ms=100, plc_cycle_ms=20, margin_ms=50)
OPEN = {"policy": "None", "allow_insecure": True}


def simulated(**changes: Any) -> SimulatedLine:
    settings: dict[str, Any] = {"timing": TIMING, "rate_per_s": 20.0, "running": False, **changes}
    return SimulatedLine("line-1", **settings)


def plc(endpoint: str, **changes: Any) -> Plc:
    return Plc.model_validate({"endpoint": endpoint, "security": OPEN, **changes})


async def refusal(settings: Plc) -> PlcError:
    with pytest.raises(PlcError) as caught:
        async with connect(settings, "test") as connection:
            await validate(connection)
    return caught.value


async def test_a_closed_port_says_that_the_server_is_off() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    error = await refusal(plc(f"opc.tcp://127.0.0.1:{port}"))
    assert isinstance(error, PlcUnreachableError)
    assert "is its OPC UA server switched on" in str(error)


async def test_a_server_that_accepts_and_never_answers_is_a_time_out() -> None:
    async with await asyncio.start_server(lambda reader, writer: asyncio.sleep(5), "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        error = await refusal(plc(f"opc.tcp://127.0.0.1:{port}"))
    assert isinstance(error, PlcUnreachableError)
    assert "does not answer within 1 s" in str(error)


async def test_a_wrong_namespace_is_named_with_those_that_exist() -> None:
    async with PlcSimulator(simulated()) as simulator:
        error = await refusal(plc(simulator.endpoint, namespace_uri="urn:other"))
    assert isinstance(error, ContractError)
    assert "no namespace 'urn:other'" in str(error)
    assert "urn:neverblink:plc" in str(error)


async def test_every_faulty_node_gets_one_sentence() -> None:
    line = simulated(
        absent=frozenset({"CntStale"}),
        types={"LateCount": "Int16", "Epoch": "UInt32"},
        read_only=frozenset({"AlarmWord", "Verdict[3]"}),
    )
    async with PlcSimulator(line) as simulator:
        error = await refusal(plc(simulator.endpoint))
    assert isinstance(error, ContractError)
    sentences = str(error).splitlines()
    assert len(sentences) == 4
    assert any("(CntStale) does not exist (BadNodeIdUnknown)" in sentence for sentence in sentences)
    assert any("(LateCount) is Int16, the contract needs UInt32" in sentence for sentence in sentences)
    assert any("(Epoch) is UInt32, the contract needs UInt16" in sentence for sentence in sentences)
    assert any("(AlarmWord) is read-only" in sentence for sentence in sentences)


async def test_a_read_only_slot_is_found_among_the_slots() -> None:
    async with PlcSimulator(simulated(read_only=frozenset({"Verdict[3]"}))) as simulator:
        error = await refusal(plc(simulator.endpoint))
    assert str(error).startswith("node s=VisionReject.Verdict[3] (Verdict[3]) is read-only")


async def test_other_node_names_are_mapped_by_the_plant_file() -> None:
    names = {"node": "s=DB7.{name}", "slot_node": "s=DB7.Tab_{index}", "nodes": {"BridgeHb": "i=4711"}}
    async with PlcSimulator(simulated(**names)) as simulator:
        async with connect(plc(simulator.endpoint, **names), "test") as connection:
            assert (await validate(connection)).slots == 64
            await connection.write({"BridgeHb": 9, "Verdict[5]": 1})
        assert (simulator.value("BridgeHb"), simulator.value("Verdict[5]")) == (9, 1)


async def test_the_simulated_plc_is_as_strict_as_a_real_one() -> None:
    async with PlcSimulator(simulated()) as simulator, connect(plc(simulator.endpoint), "test") as connection:
        assert await connection.write({"LastTriggered": 1}) == {"LastTriggered": "BadNotWritable"}

        async def raw(name: str, value: Any) -> str:
            (status,) = await connection._client.uaclient.write_attributes([connection._id(name)], [value])
            return str(status.name)

        variant, types = ua.Variant, ua.VariantType
        stamped = ua.DataValue(variant(1, types.UInt32), SourceTimestamp=dt.datetime.now(dt.UTC))
        assert await raw("Verdict[0]", ua.DataValue(variant(1, types.Int64))) == "BadTypeMismatch"
        assert await raw("Verdict[0]", ua.DataValue(variant([1, 2], types.UInt32))) == "BadTypeMismatch"
        assert await raw("Verdict[0]", stamped) == "BadWriteNotSupported"
        assert await raw("Verdict[0]", ua.DataValue(variant(1, types.UInt32))) == "Good"
        assert await connection.write({"Verdict[4095]": 1}) == {"Verdict[4095]": "BadNodeIdUnknown"}


async def test_a_wrong_password_is_told_as_such_and_waits_before_trying_again(tmp_path: Path) -> None:
    (tmp_path / "good").write_text("secret\n")
    (tmp_path / "bad").write_text("guess\n")
    line = simulated(username="bridge", password="secret")
    async with PlcSimulator(line) as simulator:
        user = {**OPEN, "username": "bridge"}
        async with connect(
            plc(simulator.endpoint, security={**user, "password_file": tmp_path / "good"}), "test"
        ) as connection:
            await validate(connection)
        error = await refusal(plc(simulator.endpoint, security={**user, "password_file": tmp_path / "bad"}))
        assert isinstance(error, PlcRefusedError)
        assert "does not let in user 'bridge'" in str(error)
        assert error.retry_s == 10.0
        error = await refusal(plc(simulator.endpoint))
        assert "anonymous" in str(error)


@pytest.mark.parametrize("policy", ["Basic256Sha256", "Aes256Sha256RsaPss"])
async def test_a_signed_and_encrypted_session_with_a_pinned_certificate(tmp_path: Path, policy: str) -> None:
    server, server_key = certificate(tmp_path, "plc")
    ours, our_key = certificate(tmp_path, "bridge")
    other, _ = certificate(tmp_path, "other")
    security = {"policy": policy, "certificate": ours, "key": our_key, "plc_certificate": server}
    async with PlcSimulator(simulated(certificate=server, key=server_key)) as simulator:
        async with connect(plc(simulator.endpoint, security=security), "test") as connection:
            await validate(connection)
            assert await connection.write({"Verdict[1]": 7}) == {"Verdict[1]": None}
        assert simulator.value("Verdict[1]") == 7

        # A server that cannot decrypt our first message says nothing, so it is asked for its certificate.
        error = await refusal(plc(simulator.endpoint, security={**security, "plc_certificate": other}))
        assert f"shows another certificate (plc, thumbprint {thumbprint(read_certificate(server))})" in str(error)
        assert f"than {other}" in str(error)

    async with PlcSimulator(simulated()) as simulator:
        error = await refusal(plc(simulator.endpoint, security=security))
        assert f"does not offer policy {policy} with sign and encrypt" in str(error)


async def test_certificate_files_that_cannot_work_are_told_before_the_plc_is_asked(tmp_path: Path) -> None:
    ours, our_key = certificate(tmp_path, "bridge")
    _, other_key = certificate(tmp_path, "other")
    old, _ = certificate(tmp_path, "old", valid_to=dt.timedelta(hours=-1))
    young, _ = certificate(tmp_path, "young", valid_from=dt.timedelta(hours=2))
    nowhere = "opc.tcp://127.0.0.1:1"
    security = {"policy": "Basic256Sha256", "certificate": ours, "key": our_key, "plc_certificate": ours}

    async def said(**changes: Any) -> str:
        error = await refusal(plc(nowhere, security={**security, **changes}))
        assert isinstance(error, PlcRefusedError)
        assert error.retry_s == 10.0
        return str(error)

    assert "does not fit the certificate" in await said(key=other_key)
    assert f"the PLC's certificate {old} expired on" in await said(plc_certificate=old)
    assert f"the PLC's certificate {young} is not valid before" in await said(plc_certificate=young)
    assert "missing.der cannot be read" in await said(plc_certificate=tmp_path / "missing.der")


async def test_a_certificate_that_expires_soon_is_told_once_a_day_and_still_works(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server, server_key = certificate(tmp_path, "plc")
    ours, our_key = certificate(tmp_path, "bridge", valid_to=dt.timedelta(days=9, hours=1))
    security = {"policy": "Basic256Sha256", "certificate": ours, "key": our_key, "plc_certificate": server}
    async with PlcSimulator(simulated(certificate=server, key=server_key)) as simulator:
        for _ in range(3):
            async with connect(plc(simulator.endpoint, security=security), "test"):
                pass
    assert caplog.text.count("expires in 9 days") == 1


@pytest.mark.parametrize(
    ("status", "sentence"),
    [
        ("BadCertificateUriInvalid", "the application URI in it is not the one that the PLC expects"),
        ("BadCertificateTimeInvalid", "by the PLC's clock it has expired or is not valid yet"),
        ("BadCertificateUntrusted", "trust it on the PLC"),
        ("BadCertificateUseNotAllowed", "its key usage is not that of an application"),
    ],
)
async def test_what_the_plc_says_of_our_certificate_is_told_in_words(status: str, sentence: str) -> None:
    security = {"certificate": "c.der", "key": "k.pem", "plc_certificate": "p.der"}
    error = await explained(getattr(ua.uaerrors, status)(), plc("opc.tcp://127.0.0.1:1", security=security), b"")
    assert isinstance(error, PlcRefusedError)
    assert "refuses our certificate c.der" in str(error)
    assert sentence in str(error)


async def test_a_plc_that_stood_still_while_we_knocked_is_tried_again_within_seconds(tmp_path: Path) -> None:
    server, server_key = certificate(tmp_path, "plc")
    ours, our_key = certificate(tmp_path, "bridge")
    security = {"certificate": ours, "key": our_key, "plc_certificate": server}
    async with PlcSimulator(simulated(certificate=server, key=server_key)) as simulator:
        error = await explained(TimeoutError(), plc(simulator.endpoint, security=security), server.read_bytes())
    # It answers now, with its own certificate: that it does not trust us is not known, and not said.
    assert isinstance(error, PlcUnreachableError)
    assert error.retry_s is not None
    assert error.retry_s <= 2.0
    assert "it was busy, and is tried again in 2 s" in str(error)
    assert f"should this go on, look for {ours} among the certificates that it has rejected" in str(error)
    assert "trust" not in str(error)


async def test_a_missing_key_file_is_named() -> None:
    security = {
        "policy": "Basic256Sha256",
        "certificate": Path("/nowhere/c.der"),
        "key": Path("/nowhere/k.pem"),
        "plc_certificate": Path("/nowhere/p.der"),
    }
    error = await refusal(plc("opc.tcp://127.0.0.1:1", security=security))
    assert "/nowhere/c.der and /nowhere/k.pem cannot be read" in str(error)
    assert "neverblink bridge certificate" in str(error)


async def test_a_lost_session_is_noticed_within_two_watchdog_periods() -> None:
    async with PlcSimulator(simulated()) as simulator, connect(plc(simulator.endpoint), "test") as connection:
        stall = asyncio.create_task(simulator.stall(2.0))
        await asyncio.wait_for(connection.lost.wait(), 1.6)
        assert connection.lost_because
        await stall


class Listener:
    """Collects triggers until it is closed."""

    def __init__(self) -> None:
        self.found: list[PlcTrigger] = []
        self.states: list[str] = []
        self.connected = asyncio.Event()

    async def listen(self, settings: Plc) -> None:
        async for trigger in triggers(settings, poll_ms=10, on_state=self._state):
            self.found.append(trigger)

    def _state(self, state: str, sentence: str) -> None:
        self.states.append(state)
        (self.connected.set if state == "connected" else self.connected.clear)()


@contextlib.asynccontextmanager
async def listening(settings: Plc) -> AsyncIterator[Listener]:
    listener = Listener()
    task = asyncio.create_task(listener.listen(settings))
    try:
        await asyncio.wait_for(listener.connected.wait(), 5)
        yield listener
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def test_the_camera_hears_every_part_once_and_at_the_plcs_own_time() -> None:
    async with PlcSimulator(simulated(rate_per_s=50.0)) as simulator:
        async with listening(plc(simulator.endpoint)) as listener:
            await simulator.run_conveyor(40)
            await asyncio.sleep(1.2)
        assert [trigger.number for trigger in listener.found] == list(range(1, 41))
        assert not any(trigger.missed for trigger in listener.found)
        await asyncio.sleep(0.8)
        stated = {entry["number"]: entry["triggered"] for entry in simulator.gated}
        for trigger in listener.found:
            assert trigger.at.timestamp() == pytest.approx(stated[trigger.number], abs=0.001)


async def test_parts_that_came_while_the_camera_was_away_are_missed_not_forgotten() -> None:
    async with PlcSimulator(simulated()) as simulator, listening(plc(simulator.endpoint)) as listener:
        await simulator.run_conveyor()
        await asyncio.sleep(0.5)
        await simulator.stall(1.5)
        await asyncio.sleep(1.0)
    numbers = [trigger.number for trigger in listener.found]
    assert numbers == list(range(1, len(numbers) + 1))
    missed = [trigger.number for trigger in listener.found if trigger.missed]
    assert 10 <= len(missed) <= 50
    assert not listener.found[-1].missed
    assert "away" in listener.states


async def test_a_camera_told_to_stop_stops_even_as_parts_come_in() -> None:
    async with PlcSimulator(simulated(rate_per_s=100.0)) as simulator:
        await simulator.run_conveyor()
        told: list[asyncio.Task[None]] = []
        for round_ in range(4):
            cameras = [asyncio.create_task(Listener().listen(plc(simulator.endpoint))) for _ in range(8)]
            for number, camera in enumerate(cameras):
                # From while it connects to well into its session.
                await asyncio.sleep(0.02 * (round_ + number % 3))
                camera.cancel()
            told += cameras
        _, going_on = await asyncio.wait(told, timeout=5)
        assert not going_on


async def test_a_restarted_plc_counts_from_one_in_its_new_epoch() -> None:
    async with PlcSimulator(simulated()) as simulator, listening(plc(simulator.endpoint)) as listener:
        await simulator.run_conveyor(5)
        await asyncio.sleep(0.5)
        await simulator.restart()
        await asyncio.wait_for(listener.connected.wait(), 5)
        await simulator.run_conveyor(3)
        await asyncio.sleep(0.5)
    assert [(t.epoch, t.number) for t in listener.found] == [*((1, n) for n in range(1, 6)), (2, 1), (2, 2), (2, 3)]


PLANT = """\
site: demo
products: [{name: pcb, artifact: pcb-1}]
lines:
  - name: line-1
    timing: {distance_to_gate_m: 0.5, speed_m_s: 1.0, actuator_ms: 100}
    plc: {endpoint: "opc.tcp://127.0.0.1:PORT/neverblink", security: {policy: "None", allow_insecure: true}}
    stations:
      - {name: top, product: pcb, source: {kind: simulated, drawing: pcb}, trigger: {kind: plc}}
"""


async def test_the_simulator_serves_a_plant_files_lines_and_obeys_the_conveyor_nodes(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    plant = parse_plant(PLANT.replace("PORT", str(port)))
    lines = simulated_lines(plant, rate_per_s=20, running=False)
    stop, truth = asyncio.Event(), tmp_path / "truth.jsonl"
    started = asyncio.Event()
    serving = asyncio.create_task(run(lines, stop, truth=truth, ready=lambda simulators: started.set()))
    await asyncio.wait_for(started.wait(), 10)
    settings = plant.lines[0].plc
    assert settings is not None
    async with connect(settings, "demo") as connection:
        await write_conveyor(connection, parts=6)
        await asyncio.sleep(1.6)
        counters = await connection.read(["LastTriggered", "CntFailsafe"])
    assert counters == {"LastTriggered": 6, "CntFailsafe": 6}
    assert len(truth.read_text().splitlines()) == 6

    with pytest.raises(PlantError, match="cannot listen on"):
        await run(lines, stop)
    stop.set()
    await asyncio.wait_for(serving, 5)


async def test_a_simulated_plc_begins_with_the_epoch_after_that_of_its_last_run(tmp_path: Path) -> None:
    plant = parse_plant(PLANT.replace("PORT", "4840"))

    def begins() -> PlcSimulator:
        (line,) = simulated_lines(plant, running=False, certificates=tmp_path, remember=True)
        return PlcSimulator(line)

    assert begins().value("Epoch") == 1
    second = begins()
    assert second.value("Epoch") == 2
    await second.new_epoch()
    assert begins().value("Epoch") == 4
    (tmp_path / "line-1.epoch").write_text("65535\n")
    assert begins().value("Epoch") == 0
    (tmp_path / "line-1.epoch").write_text("many\n")
    with pytest.raises(PlantError, match=r"line-1\.epoch.*the highest epoch that its line has seen"):
        begins()


SECURE = """\
site: demo
products: [{name: pcb, artifact: pcb-1}]
lines:
  - name: line-1
    timing: {distance_to_gate_m: 0.5, speed_m_s: 1.0, actuator_ms: 100}
    plc:
      endpoint: "opc.tcp://127.0.0.1:PORT/neverblink"
      profile: PROFILE
      accept_silent_pass: ACCEPT
      security:
        policy: POLICY
        certificate: ours.der
        key: ours.pem
        plc_certificate: plc.der
        username: bridge
        password_file: password
    stations:
      - {name: top, product: pcb, source: {kind: simulated, drawing: pcb}, trigger: {kind: plc}}
"""


@pytest.mark.parametrize(
    ("profile", "policy"),
    [("verdict-table", "Basic256Sha256"), ("mailbox", "Aes256Sha256RsaPss"), ("method", "Basic256Sha256")],
)
async def test_bridge_and_simulator_meet_securely_over_one_plant_file(
    tmp_path: Path, profile: str, policy: str
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    text = SECURE.replace("PORT", str(port)).replace("PROFILE", profile).replace("POLICY", policy)
    path = tmp_path / "plant.yaml"
    path.write_text(text.replace("ACCEPT", str(profile != "verdict-table").lower()))
    (tmp_path / "password").write_text("secret\n")
    plant = load_plant(path)
    settings = plant.lines[0].plc
    assert settings is not None
    for sentence in make_certificates(plant, None, (), 90):
        assert sentence

    (simulated_line,) = simulated_lines(plant, running=False, certificates=tmp_path / "simulated")
    assert (tmp_path / "simulated" / "line-1-key.pem").stat().st_mode & 0o777 == 0o600
    async with PlcSimulator(simulated_line) as simulator:
        async with connect(settings, "test") as connection:
            assert (await validate(connection)).epoch == 1
            assert connection.expiries.keys() == {"ours", "plc"}
            await connection.write({"BridgeHb": 7})
        assert simulator.value("BridgeHb") == 7
        # Without signature, or as somebody else, nobody gets in.
        error = await refusal(settings.model_copy(update={"security": OpcUaSecurity.model_validate(OPEN)}))
        assert "does not let in an anonymous user" in str(error)
        other, other_key = certificate(tmp_path, "other")
        stranger = settings.security.model_copy(update={"certificate": other, "key": other_key})
        error = await refusal(settings.model_copy(update={"security": stranger}))
        assert "it does not trust it; trust it on the PLC" in str(error)
        # The same server, once its operator has put that certificate in the place of the other.
        assert settings.security.certificate is not None
        settings.security.certificate.write_bytes(other.read_bytes())
        async with connect(settings.model_copy(update={"security": stranger}), "test") as connection:
            await validate(connection)

    settings.security.plc_certificate.write_bytes(other.read_bytes())  # type: ignore[union-attr]
    with pytest.raises(PlantError, match="is the certificate of another PLC, whose key the simulation does not have"):
        simulated_lines(plant, running=False, certificates=tmp_path / "simulated")


async def write_conveyor(connection: PlcConnection, parts: int) -> None:
    """Start the conveyor as `neverblink demo` does, over OPC UA."""
    ids = [ua.NodeId(name, connection._namespace) for name in ("Conveyor.Parts", "Conveyor.Run")]
    values = [ua.Variant(parts, ua.VariantType.UInt32), ua.Variant(True, ua.VariantType.Boolean)]
    statuses = await connection._client.uaclient.write_attributes(ids, [ua.DataValue(value) for value in values])
    assert all(status.is_good() for status in statuses)
