"""Apache Kafka that trusts nobody: users by SCRAM over TLS or by certificate, rights by ACLs, one local node."""

import asyncio
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ConfigResource,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)
from cryptography.hazmat.primitives import serialization

from neverblink.brokers.apache import KafkaUnavailable, find_jars, find_java, free_port, new_cluster_id
from neverblink.plant import Kafka
from neverblink.service_life.children import die_with_parent
from rigs.application_certificates import Signer, certificate, make
from rigs.real_parts import without

_START_S = 60.0
_SESSION_MS = 5_000
"""So long does a login hold: then Kafka wants a new one, or closes the connection."""


class SecuredKafka:
    """One node. `plaintext` is the superuser's door; `kafka` is a user's, by SCRAM-SHA-512 over TLS, and `certified`
    one's whose certificate says who it is.

    A login holds for `session_ms`, 0 for as long as the connection.
    """

    def __init__(self, *, session_ms: int = _SESSION_MS, heap_mib: int = 384) -> None:
        self._session_ms, self._heap_mib = session_ms, heap_mib
        self._folder = Path(tempfile.mkdtemp(prefix="neverblink-secured-"))
        taken: set[int] = set()
        self._tls, self._plain, self._controller = free_port(taken), free_port(taken), free_port(taken)
        self._certificates = free_port(taken)
        self._signer: Signer | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self.plaintext = f"127.0.0.1:{self._plain}"
        self.authority = self._folder / "authority.pem"

    async def start(self) -> None:
        """Start the node and return when it serves. Raises KafkaUnavailable."""
        java, jars = await asyncio.to_thread(find_java), await asyncio.to_thread(find_jars)
        self._make_certificates()
        properties = self._folder / "server.properties"
        properties.write_text("".join(f"{name}={value}\n" for name, value in self._settings().items()))
        command = [java, f"-Xmx{self._heap_mib}m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", jars]
        identity = new_cluster_id()
        formatting = ["kafka.tools.StorageTool", "format", "-t", identity, "-c", str(properties)]
        done = await asyncio.to_thread(
            subprocess.run, [*command, *formatting], capture_output=True, text=True, check=False, timeout=_START_S
        )
        assert done.returncode == 0, done.stdout + done.stderr
        log = (self._folder / "kafka.log").open("wb")
        self._process = subprocess.Popen(  # noqa: ASYNC220 - it is started, not waited for
            [*command, "kafka.Kafka", str(properties)],
            stdout=log,
            stderr=log,
            start_new_session=True,
            preexec_fn=die_with_parent,
        )
        await self._serving()

    def stop(self) -> None:
        """End the node; everything is gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    def kafka(self, user: str, password_file: Path, **more: Any) -> Kafka:
        """Return the plant file's section of a user."""
        security = {
            "protocol": "SASL_SSL", "username": user, "password_file": password_file, "ca_file": self.authority
        }  # fmt: skip
        return Kafka.model_validate(
            {"bootstrap": f"localhost:{self._tls}", "replication": 1, "partitions": 2, "security": security, **more}
        )

    def certified(self, name: str, folder: Path, **more: Any) -> Kafka:
        """Return the plant file's section of a user who has a certificate and no password, and write both files."""
        cert, key = certificate(folder, name, uri=None, signer=self._signer, pem=True)
        security = {"protocol": "SSL", "cert_file": cert, "key_file": key, "ca_file": self.authority}
        at = f"localhost:{self._certificates}"
        return Kafka.model_validate({"bootstrap": at, "replication": 1, "partitions": 2, "security": security, **more})

    def user(self, name: str, password: str) -> None:
        """Add a user, or give it another password."""
        change = UserScramCredentialUpsertion(
            name, ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096), password.encode()
        )
        admin = self._admin()  # which takes its answers with it when it goes
        _done(admin.alter_user_scram_credentials([change]))

    def allow(self, user: str, kind: ResourceType, name: str, *operations: AclOperation) -> None:
        """Let a user do something with all topics or groups whose names begin so."""
        how = ResourcePatternType.PREFIXED
        rights = [
            AclBinding(kind, name, how, f"User:{user}", "*", operation, AclPermissionType.ALLOW)
            for operation in operations
        ]
        admin = self._admin()
        _done(admin.create_acls(rights))

    def setting(self, topic: str, name: str) -> str:
        """Return a setting of a topic."""
        asked = ConfigResource(ConfigResource.Type.TOPIC, topic)
        admin = self._admin()
        return str(admin.describe_configs([asked])[asked].result(30)[name].value)

    def _admin(self) -> AdminClient:
        return AdminClient({"bootstrap.servers": self.plaintext})

    def _make_certificates(self) -> None:
        authority = self._signer = make("authority", authority=True, uri=None, hosts=())
        self.authority.write_bytes(authority[0].public_bytes(serialization.Encoding.PEM))
        cert, key = certificate(self._folder, "broker", uri=None, signer=authority, pem=True)
        (self._folder / "broker.store.pem").write_bytes(key.read_bytes() + cert.read_bytes())

    def _settings(self) -> dict[str, object]:
        return {
            "node.id": 1,
            "process.roles": "broker,controller",
            "controller.quorum.voters": f"1@127.0.0.1:{self._controller}",
            "listeners": f"USERS://127.0.0.1:{self._tls},CERTIFIED://127.0.0.1:{self._certificates},"
            f"PLAIN://127.0.0.1:{self._plain},CONTROLLER://127.0.0.1:{self._controller}",
            "advertised.listeners": f"USERS://localhost:{self._tls},CERTIFIED://localhost:{self._certificates},"
            f"PLAIN://127.0.0.1:{self._plain}",
            "listener.security.protocol.map": "USERS:SASL_SSL,CERTIFIED:SSL,PLAIN:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "controller.listener.names": "CONTROLLER",
            "inter.broker.listener.name": "PLAIN",
            "sasl.enabled.mechanisms": "SCRAM-SHA-512",
            "listener.name.users.scram-sha-512.sasl.jaas.config": "org.apache.kafka.common.security.scram."
            "ScramLoginModule required;",
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": self._folder / "broker.store.pem",
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": self.authority,
            "listener.name.certified.ssl.client.auth": "required",
            # A certificate's common name is the user: CN=camera-1 is User:camera-1.
            "ssl.principal.mapping.rules": "RULE:^CN=([^,]*).*$/$1/,DEFAULT",
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS;User:root",
            "allow.everyone.if.no.acl.found": "false",
            "connections.max.reauth.ms": self._session_ms,
            "message.max.bytes": 8 * 1024 * 1024,
            "offsets.topic.replication.factor": 1,
            "offsets.topic.num.partitions": 2,
            "transaction.state.log.replication.factor": 1,
            "transaction.state.log.min.isr": 1,
            "group.initial.rebalance.delay.ms": 0,
            "auto.create.topics.enable": "false",
            "log.dirs": self._folder / "data",
        }

    async def _serving(self) -> None:
        give_up = asyncio.get_running_loop().time() + _START_S
        while True:
            admin = AIOKafkaAdminClient(bootstrap_servers=self.plaintext, request_timeout_ms=2000)
            try:
                await admin.start()
                await admin.close()
            except Exception:
                await admin.close()
                assert self._process is not None
                log = (self._folder / "kafka.log").read_text(errors="replace")[-3000:]
                assert self._process.poll() is None, log
                assert asyncio.get_running_loop().time() < give_up, log
                await asyncio.sleep(0.5)
            else:
                return


def secured_kafka(**settings: int) -> Iterator[SecuredKafka]:
    """Yield one that runs, for a fixture; where none can be had its tests are skipped, or fail where it must be."""
    found = SecuredKafka(**settings)
    try:
        asyncio.run(found.start())
        yield found
    except KafkaUnavailable as error:
        without("Apache Kafka", error)
    finally:
        found.stop()


def _done(futures: dict[Any, Any]) -> None:
    for future in futures.values():
        future.result(30)
