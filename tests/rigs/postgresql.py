"""A real PostgreSQL server for the tests: a folder and a port of its own, gone afterwards."""

import os
import pwd
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg

from neverblink.brokers.apache import free_port
from neverblink.service_life.children import die_with_parent

USER = "neverblink"
_INSTALLED = Path("/usr/lib/postgresql")  # where Debian keeps a folder for each version, off the PATH
_READY_S = 60.0
_STOP_S = 15.0


class PostgresqlUnavailable(RuntimeError):  # noqa: N818
    """No PostgreSQL server can run here; the message says why."""


class PostgresqlServer:
    """One server on the loopback, with a password; made here, then to be started. Raises PostgresqlUnavailable.

    What it committed survives its own end and its being killed, not the machine's: nothing is forced to disk.
    """

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="neverblink-postgresql-"))
        self._password = secrets.token_hex(12)
        self._process: subprocess.Popen[bytes] | None = None
        self.port = free_port()
        try:
            self._make()
        except BaseException:
            self.end()
            raise

    def url(self, database: str = "postgres") -> str:
        """Return the address of a database, with the password in it."""
        return f"postgresql://{USER}:{self._password}@127.0.0.1:{self.port}/{database}"

    def new_database(self) -> str:
        """Make an empty database and return its address."""
        name = f"test_{uuid4().hex}"
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"'.encode())
        return self.url(name)

    def start(self) -> None:
        """Start the server on what its folder holds, and wait until it answers. Raises PostgresqlUnavailable."""
        settings = ("listen_addresses=127.0.0.1", "unix_socket_directories=", "fsync=off", "max_connections=50")
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [_program("postgres"), "-D", self._data, "-p", str(self.port)]
                + [word for setting in settings for word in ("-c", setting)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._folder,
                preexec_fn=die_with_parent if sys.platform == "linux" else None,
                **_unprivileged(),
            )
        give_up = time.monotonic() + _READY_S
        while True:
            try:
                psycopg.connect(self.url(), connect_timeout=2).close()
            except psycopg.OperationalError as error:
                if self._process.poll() is not None or time.monotonic() > give_up:
                    last = (self._folder / "log").read_text(errors="replace")[-2000:]
                    raise PostgresqlUnavailable(f"the server does not answer ({error}); it says: {last}") from error
                time.sleep(0.05)
            else:
                return

    def stop(self) -> None:
        """End the server at once, as an operator does: connections are closed, open transactions undone."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def freeze(self) -> None:
        """Let the server and all its sessions stand still: connections stay, and nothing is answered."""
        for pid in self._processes():
            os.kill(pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let the server go on."""
        for pid in reversed(self._processes()):
            os.kill(pid, signal.SIGCONT)

    def _processes(self) -> list[int]:
        assert self._process is not None
        pid = self._process.pid
        return [pid, *map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]

    def end(self) -> None:
        """Stop the server and remove what it kept."""
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def _data(self) -> str:
        return str(self._folder / "data")

    def _make(self) -> None:
        who = _unprivileged()
        if who:
            os.chown(self._folder, who["user"], who["group"])
        secret = self._folder / "password"
        secret.write_text(self._password)
        if who:
            os.chown(secret, who["user"], who["group"])
        words = ["--pgdata", self._data, "--username", USER, "--auth", "scram-sha-256", "--pwfile", str(secret)]
        words += ["--encoding", "UTF8", "--locale", "C.UTF-8", "--no-sync"]
        made = subprocess.run(
            [_program("initdb"), *words], capture_output=True, text=True, timeout=120, cwd=self._folder, **who
        )
        if made.returncode:
            raise PostgresqlUnavailable(f"initdb: {made.stderr.strip()}")


def _unprivileged() -> dict[str, Any]:
    """Return who runs the server: PostgreSQL refuses root."""
    if os.geteuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        try:
            found = pwd.getpwnam(name)
        except KeyError:
            continue
        return {"user": found.pw_uid, "group": found.pw_gid}
    raise PostgresqlUnavailable("root may not run it, and there is neither a user postgres nor nobody")


def _program(name: str) -> str:
    """Return where PostgreSQL's program is: the newest of Debian's versions, else the one on the PATH."""
    versions = sorted(_INSTALLED.glob(f"*/bin/{name}"), key=lambda path: int(path.parts[-3]), reverse=True)
    found = str(versions[0]) if versions else shutil.which(name)
    if found is None:
        raise PostgresqlUnavailable(f"there is no {name}; `make test-plant` installs it where apt-get and root allow")
    return found
