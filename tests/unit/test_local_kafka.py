"""What a machine lacks for Apache Kafka is said in a sentence with the way out."""

from pathlib import Path

import pytest

from neverblink.brokers.apache import KafkaUnavailable, LocalKafka, find_jars, find_java, free_port
from neverblink.brokers.broker import open_broker
from neverblink.brokers.development import BrokerError, DevelopmentBroker


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine with nothing on its path; returns the folder that is the path."""
    programs = tmp_path / "bin"
    programs.mkdir()
    monkeypatch.setenv("PATH", str(programs))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.delenv("KAFKA_HOME", raising=False)
    return programs


def program(folder: Path, name: str, text: str) -> None:
    file = folder / name
    file.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    file.chmod(0o755)


def test_without_java_it_says_what_to_install(bare: Path) -> None:
    with pytest.raises(KafkaUnavailable, match=r"there is no java: install a JRE .*openjdk-17-jre-headless"):
        find_java()


@pytest.mark.parametrize(("said", "found"), [("1.8.0_402", "8"), ("11.0.22", "11")])
def test_an_old_java_is_named_with_its_version(bare: Path, said: str, found: str) -> None:
    program(bare, "java", f"echo 'openjdk version \"{said}\"' >&2")
    with pytest.raises(KafkaUnavailable, match=rf"needs Java 17 or newer; .*java is Java {found}$"):
        find_java()


def test_java_home_is_preferred(bare: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "jdk" / "bin"
    home.mkdir(parents=True)
    program(bare, "java", "echo 'openjdk version \"11.0.2\"' >&2")
    program(home, "java", "echo 'openjdk version \"21.0.2\"' >&2")
    monkeypatch.setenv("JAVA_HOME", str(home.parent))
    assert find_java() == str(home / "java")


def test_without_maven_and_kafka_home_it_names_both_ways(bare: Path) -> None:
    with pytest.raises(KafkaUnavailable, match=r"install Maven .* or set KAFKA_HOME"):
        find_jars()


def test_a_maven_that_is_offline_is_quoted_and_leaves_no_half_set_of_jars(bare: Path, tmp_path: Path) -> None:
    program(bare, "mvn", "echo '[ERROR] Unknown host jars.example'; exit 1")
    with pytest.raises(KafkaUnavailable, match=r"(?s)check the network.*Unknown host jars.example"):
        find_jars()
    assert list((tmp_path / "cache" / "neverblink").iterdir()) == []


def test_a_kafka_home_without_kafka_is_refused(bare: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAFKA_HOME", str(tmp_path))
    with pytest.raises(KafkaUnavailable, match="holds no Kafka: correct it or unset it"):
        find_jars()


def test_an_unpacked_kafka_is_used_as_it_is(bare: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    libs = tmp_path / "kafka" / "libs"
    libs.mkdir(parents=True)
    (libs / "kafka_2.13-4.1.0.jar").touch()
    monkeypatch.setenv("KAFKA_HOME", str(libs.parent))
    assert find_jars() == str(libs / "*")


async def test_a_kafka_that_cannot_start_is_quoted_and_its_folder_removed(
    bare: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    libs = tmp_path / "cache" / "neverblink" / "kafka-4.1.0"
    libs.mkdir(parents=True)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    program(
        bare,
        "java",
        'case "$*" in\n'
        "  -version) echo 'openjdk version \"17.0.1\"' >&2;;\n"
        "  *StorageTool*) exit 0;;\n"
        "  *) echo 'java.net.BindException: Address already in use'; exit 1;;\n"
        "esac",
    )
    kafka = LocalKafka()
    with pytest.raises(BrokerError, match=r"(?s)ended while starting:.*Address already in use"):
        await kafka.start()
    assert not any(scratch.glob("*"))
    assert kafka.bootstrap == ""


def test_a_free_port_is_outside_the_range_of_outgoing_connections() -> None:
    taken: set[int] = set()
    ports = [free_port(taken) for _ in range(50)]
    assert len(set(ports)) == 50
    assert all(20_000 <= port < 32_768 for port in ports)


def test_a_broker_is_opened_by_name() -> None:
    assert isinstance(open_broker("development"), DevelopmentBroker)
    assert isinstance(open_broker("local"), LocalKafka)
    with pytest.raises(BrokerError, match="use development or local"):
        open_broker("cloud")  # type: ignore[arg-type]
