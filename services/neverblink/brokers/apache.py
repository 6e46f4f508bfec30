"""Apache Kafka itself, as child processes on the local JVM: KRaft, a temporary folder, loopback only.

The jars come from `KAFKA_HOME` or, once, by Maven into the user's cache. Needs Java 17 or newer. With three nodes
a test can kill one and watch what the others do.
"""

import asyncio
import base64
import contextlib
import ctypes
import os
import random
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError as ClientError

from neverblink import telemetry
from neverblink.brokers.development.server import BrokerError
from neverblink.brokers.route import Route

KAFKA_VERSION = "4.1.0"
"""The version in apache_pom.xml, which is what tests and the demo run."""

_POM = Path(__file__).with_name("apache_pom.xml")
_OLDEST_JAVA = 17
_START_TIMEOUT_S = 60.0
_STOP_TIMEOUT_S = 15.0
_MAVEN_TIMEOUT_S = 600.0
_ASK_EVERY_S = 0.1
# Below Linux's range for outgoing connections (32768-60999), so that no client takes a node's port while it is
# being restarted.
_PORTS = range(20_000, 32_768)
_LOG_LINES = 12


class KafkaUnavailable(BrokerError):  # noqa: N818
    """This machine lacks what Apache Kafka needs (Java, Maven, the jars); the message says what to install."""


@dataclass(slots=True)
class _Node:
    """One broker process. `process` is None while the node is down."""

    number: int
    port: int
    controller_port: int
    folder: Path
    routes: tuple[Route, ...] = ()
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def log(self) -> Path:
        return self.folder / "kafka.log"


class LocalKafka:
    """A cluster of one or more Kafka nodes on this machine; everything is gone when it stops."""

    name = "apache"

    def __init__(self, nodes: int = 1, *, port: int = 0, heap_mib: int = 512, routes: int = 0) -> None:
        """Prepare a cluster; `port` is the first node's, 0 takes a free one. Each node has so many `routes` besides."""
        if nodes < 1:
            raise BrokerError(f"a cluster of {nodes} nodes is asked for: at least one is needed")
        self._heap_mib = heap_mib
        self._first_port = port
        self._count = nodes
        self._routes = routes
        self._nodes: list[_Node] = []
        self._folder: Path | None = None
        self._java = ""
        self._classpath = ""
        self._log = telemetry.logger("local-kafka")

    @property
    def bootstrap(self) -> str:
        """`host:port` of every node, separated by commas."""
        return ",".join(f"127.0.0.1:{node.port}" for node in self._nodes)

    def route(self, number: int) -> tuple[Route, ...]:
        """Return one route to every node; counts from 0. Clients begin at any `advertised` of it."""
        return tuple(node.routes[number] for node in self._nodes)

    async def start(self) -> None:
        """Start all nodes and return when each one serves. Raises BrokerError, KafkaUnavailable."""
        if self._nodes:
            return
        self._java = await asyncio.to_thread(find_java)
        self._classpath = await asyncio.to_thread(find_jars)
        self._folder = Path(tempfile.mkdtemp(prefix="neverblink-kafka-"))
        taken: set[int] = set()
        for number in range(1, self._count + 1):
            first = self._first_port if number == 1 else 0
            routes = tuple(Route(free_port(taken), free_port(taken)) for _ in range(self._routes))
            self._nodes.append(
                _Node(number, first or free_port(taken), free_port(taken), self._folder / f"node-{number}", routes)
            )
        try:
            cluster_id = new_cluster_id()
            await asyncio.gather(*(self._format(node, cluster_id) for node in self._nodes))
            for node in self._nodes:
                self._launch(node)
            await asyncio.gather(*(self._serving(node) for node in self._nodes))
        except BaseException:
            await self.stop()
            raise
        self._log.info(f"Apache Kafka {KAFKA_VERSION} with {self._count} nodes on {self.bootstrap}")

    async def stop(self) -> None:
        """Stop all nodes, by force where they do not go, and delete the folder."""
        for node in self._nodes:
            if node.process is not None:
                node.process.terminate()
        await asyncio.gather(*(self._gone(node) for node in self._nodes))
        self._nodes.clear()
        if self._folder is not None:
            await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)
            self._folder = None

    async def kill_node(self, number: int) -> None:
        """Kill a node at once, as a power cut does; its records stay for `restart_node`. Counts from 1."""
        node = self._node(number)
        if node.process is not None:
            node.process.kill()
            await self._gone(node)

    async def restart_node(self, number: int) -> None:
        """Start a killed node with the records and the port it had. Raises BrokerError."""
        node = self._node(number)
        if node.process is None:
            self._launch(node)
            await self._serving(node)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    def last_words(self, number: int = 1) -> str:
        """Return the last lines that a node has logged, to say what it did not answer. Counts from 1."""
        return _tail(_read(self._node(number).log))

    def _node(self, number: int) -> _Node:
        if not 1 <= number <= len(self._nodes):
            raise BrokerError(f"there is no node {number}: the cluster has {len(self._nodes)} running or killed")
        return self._nodes[number - 1]

    async def _format(self, node: _Node, cluster_id: str) -> None:
        node.folder.mkdir(parents=True)
        properties = node.folder / "server.properties"
        properties.write_text(_server_properties(node, self._nodes), encoding="utf-8")
        command = self._java_command(node, "kafka.tools.StorageTool", "format", "-t", cluster_id, "-c", properties)
        done = await asyncio.to_thread(
            subprocess.run,
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_START_TIMEOUT_S,
            check=False,
        )
        if done.returncode != 0:
            raise BrokerError(
                f"Kafka's storage in {node.folder} cannot be prepared (exit code {done.returncode}): "
                f"{_tail(done.stdout.decode(errors='replace'))}"
            )

    def _launch(self, node: _Node) -> None:
        command = self._java_command(node, "kafka.Kafka", node.folder / "server.properties")
        with node.log.open("ab") as log:
            node.process = subprocess.Popen(  # noqa: S603 - our own program and arguments
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # Ctrl-C at the terminal reaches the parent, which then stops its nodes in order.
                start_new_session=True,
                preexec_fn=_die_with_parent if sys.platform == "linux" else None,
            )

    def _java_command(self, node: _Node, main: str, *arguments: "str | Path") -> list[str]:
        log4j = node.folder / "log4j2.properties"
        if not log4j.exists():
            log4j.write_text(_LOG4J2, encoding="utf-8")
        return [
            self._java,
            "-Xms128m",
            f"-Xmx{self._heap_mib}m",
            "-XX:+UseSerialGC",
            # A broker of a few minutes is up sooner without the optimising compiler: 3 s instead of 5 s on 2 cores.
            "-XX:TieredStopAtLevel=1",
            "-Djava.awt.headless=true",
            f"-Dkafka.logs.dir={node.folder}",
            f"-Dlog4j2.configurationFile={log4j}",
            "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
            "-Dorg.slf4j.simpleLogger.showDateTime=true",
            "-cp",
            self._classpath,
            main,
            *(str(argument) for argument in arguments),
        ]

    async def _serving(self, node: _Node) -> None:
        """Wait until a metadata request to this very node is answered with all nodes that run."""
        expected = sum(1 for one in self._nodes if one.process is not None)
        give_up = time.monotonic() + _START_TIMEOUT_S
        while time.monotonic() < give_up:
            if node.process is None or node.process.poll() is not None:
                raise BrokerError(f"Apache Kafka on port {node.port} ended while starting: {_tail(_read(node.log))}")
            if await _broker_count(f"127.0.0.1:{node.port}") >= expected:
                return
            await asyncio.sleep(_ASK_EVERY_S)
        raise BrokerError(
            f"Apache Kafka on port {node.port} does not answer after {_START_TIMEOUT_S:.0f} s: {_tail(_read(node.log))}"
        )

    async def _gone(self, node: _Node) -> None:
        if node.process is None:
            return
        try:
            await asyncio.to_thread(node.process.wait, _STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            node.process.kill()
            await asyncio.to_thread(node.process.wait)
        node.process = None


def find_java(needed_by: str = "Apache Kafka") -> str:
    """Return the java program. Raises KafkaUnavailable when there is none or it is too old."""
    home = os.environ.get("JAVA_HOME")
    java = shutil.which("java", path=str(Path(home) / "bin")) if home else None
    java = java or shutil.which("java")
    if java is None:
        raise KafkaUnavailable(
            f"{needed_by} needs Java {_OLDEST_JAVA} or newer and there is no java: install a JRE "
            "(Debian: openjdk-17-jre-headless) or set JAVA_HOME"
        )
    said = subprocess.run(  # noqa: S603
        [java, "-version"], capture_output=True, text=True, timeout=30, check=False
    )
    found = re.search(r'version "(?:1\.)?(\d+)', said.stderr + said.stdout)
    if found is None or int(found[1]) < _OLDEST_JAVA:
        version = found[1] if found else "of unknown version"
        raise KafkaUnavailable(f"{needed_by} needs Java {_OLDEST_JAVA} or newer; {java} is Java {version}")
    return java


def find_jars() -> str:
    """Return the class path of Kafka: KAFKA_HOME, the cache, or Maven. Raises KafkaUnavailable."""
    home = os.environ.get("KAFKA_HOME")
    if home:
        libs = Path(home) / "libs"
        if not any(libs.glob("kafka_*.jar")):
            raise KafkaUnavailable(f"KAFKA_HOME is {home} and {libs} holds no Kafka: correct it or unset it")
        return str(libs / "*")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "neverblink"
    libs = cache / f"kafka-{KAFKA_VERSION}"
    if not libs.is_dir():
        _resolve(libs)
    return str(libs / "*")


def _resolve(libs: Path) -> None:
    """Let Maven put the jars into `libs`: into a folder beside it first, so that half a set is never used."""
    maven = shutil.which("mvn")
    if maven is None:
        raise KafkaUnavailable(
            "Apache Kafka is not on this machine: install Maven (Debian: maven), which fetches it once, "
            "or set KAFKA_HOME to an unpacked Kafka"
        )
    libs.parent.mkdir(parents=True, exist_ok=True)
    telemetry.logger("local-kafka").info(f"fetching Apache Kafka {KAFKA_VERSION} by Maven into {libs}, once")
    with tempfile.TemporaryDirectory(dir=libs.parent, prefix="fetching-") as scratch:
        pom = Path(scratch) / "pom.xml"
        shutil.copy(_POM, pom)
        jars = Path(scratch) / "jars"
        command = [
            maven, "-q", "-B", "-ntp", "-f", str(pom), "dependency:copy-dependencies",
            "-DincludeScope=runtime", f"-DoutputDirectory={jars}",
        ]  # fmt: skip
        try:
            done = subprocess.run(  # noqa: S603
                command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=_MAVEN_TIMEOUT_S, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise KafkaUnavailable(
                f"Maven did not fetch Apache Kafka within {_MAVEN_TIMEOUT_S:.0f} s: check the network, "
                "or set KAFKA_HOME to an unpacked Kafka"
            ) from error
        if done.returncode != 0 or not any(jars.glob("kafka_*.jar")):
            raise KafkaUnavailable(
                "Maven cannot fetch Apache Kafka; check the network and Maven's settings, or set KAFKA_HOME to an "
                f"unpacked Kafka. Maven says: {_tail(done.stdout.decode(errors='replace'))}"
            )
        try:
            jars.rename(libs)
        except OSError:
            if not libs.is_dir():  # else: another process was quicker
                raise


def new_cluster_id() -> str:
    """Return random bytes as Kafka writes them; never with a dash in front, which its tool takes for an option."""
    return "N" + base64.urlsafe_b64encode(secrets.token_bytes(16)).decode().rstrip("=")[1:]


def free_port(taken: set[int] | None = None) -> int:
    """Return a port that nothing listens on, outside the range of outgoing connections; adds it to `taken`."""
    chosen = taken if taken is not None else set()
    for port in random.sample(_PORTS, k=500):
        if port in chosen:
            continue
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            chosen.add(port)
            return port
    raise BrokerError(f"there is no free port between {_PORTS.start} and {_PORTS.stop - 1}")


async def _broker_count(bootstrap: str) -> int:
    """Return how many brokers the node at `bootstrap` knows; 0 when it does not answer."""
    host, _, port = bootstrap.rpartition(":")
    try:
        # Asked first, because the client logs an error for every connection that is refused.
        _, probe = await asyncio.open_connection(host, int(port))
    except OSError:
        return 0
    probe.close()
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap, request_timeout_ms=2000)
    try:
        await admin.start()
        return len((await admin.describe_cluster())["brokers"])
    except (ClientError, OSError, TimeoutError):
        return 0
    finally:
        await admin.close()


def _server_properties(node: _Node, nodes: Sequence[_Node]) -> str:
    copies = min(3, len(nodes))
    voters = ",".join(f"{one.number}@127.0.0.1:{one.controller_port}" for one in nodes)
    # A listener's name, the port it serves at, and the port that clients are told.
    doors = [("PLAINTEXT", node.port, node.port)]
    doors += [(f"ROUTE{number}", route.port, route.advertised) for number, route in enumerate(node.routes)]
    listeners = [f"{name}://127.0.0.1:{port}" for name, port, _ in doors]
    settings = {
        "process.roles": "broker,controller",
        "node.id": node.number,
        "controller.quorum.voters": voters,
        "listeners": ",".join([*listeners, f"CONTROLLER://127.0.0.1:{node.controller_port}"]),
        "advertised.listeners": ",".join(f"{name}://127.0.0.1:{told}" for name, _, told in doors),
        "controller.listener.names": "CONTROLLER",
        "inter.broker.listener.name": "PLAINTEXT",
        "listener.security.protocol.map": ",".join(f"{name}:PLAINTEXT" for name, *_ in [*doors, ("CONTROLLER",)]),
        "log.dirs": node.folder / "data",
        "auto.create.topics.enable": "false",
        "message.max.bytes": 8 * 1024 * 1024,
        "replica.fetch.max.bytes": 8 * 1024 * 1024,
        "num.partitions": 1,
        "default.replication.factor": copies,
        "min.insync.replicas": min(2, copies),
        "offsets.topic.replication.factor": copies,
        "offsets.topic.num.partitions": 4,
        "transaction.state.log.replication.factor": copies,
        "transaction.state.log.min.isr": min(2, copies),
        "transaction.state.log.num.partitions": 4,
        "share.coordinator.state.topic.replication.factor": copies,
        "share.coordinator.state.topic.min.isr": min(2, copies),
        "group.initial.rebalance.delay.ms": 0,
        "group.min.session.timeout.ms": 1000,
        # A broker of a few minutes need not ask for more than its share of two cores.
        "num.network.threads": 2,
        "num.io.threads": 4,
        "log.cleaner.dedupe.buffer.size": 16 * 1024 * 1024,
        # A lost node is noticed in seconds.
        "broker.session.timeout.ms": 6000,
        "broker.heartbeat.interval.ms": 1000,
    }
    return "".join(f"{name}={value}\n" for name, value in settings.items())


# For an unpacked Kafka, which logs by Log4j 2; the jars by Maven log by SLF4J's simple logger.
_LOG4J2 = """\
rootLogger.level = WARN
rootLogger.appenderRef.console.ref = console
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d %p %c{1}: %m%n
"""


def _read(log: Path) -> str:
    try:
        return log.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _tail(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return "\n  ".join(["", *lines[-_LOG_LINES:]]) if lines else "it said nothing"


_PR_SET_PDEATHSIG = 1
_prctl: Callable[..., int] | None = ctypes.CDLL(None).prctl if sys.platform == "linux" else None


def _die_with_parent() -> None:
    """Ask Linux to end this child when its parent ends, however that happens (prctl(2), PR_SET_PDEATHSIG)."""
    if _prctl is not None:
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
