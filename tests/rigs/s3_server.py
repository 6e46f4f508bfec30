"""A server that speaks S3 for the tests: a process and a port of its own, gone afterwards."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from neverblink.brokers.apache import free_port
from neverblink.service_life.children import die_with_parent

KEY: Final = "neverblink"
SECRET: Final = "neverblink-secret"

_READY_S = 60.0


class S3Unavailable(RuntimeError):  # noqa: N818
    """No such server can run here; the message says why."""


class S3Server:
    """versitygw on a folder where it is installed, else moto's server. Raises S3Unavailable."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="neverblink-s3-"))
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        try:
            self._start()
        except BaseException:
            self.end()
            raise

    @property
    def endpoint(self) -> str:
        """Return its address."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def surroundings(self) -> dict[str, str]:
        """Return what a process needs in its environment to reach it."""
        return {
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_DEFAULT_REGION": "us-east-1",
        }

    def freeze(self) -> None:
        """Let it stand still: it takes connections and answers nothing."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def end(self) -> None:
        """Stop it and remove what it kept."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _start(self) -> None:
        settings: dict[str, Any] = {"preexec_fn": die_with_parent} if sys.platform == "linux" else {}
        with (self._folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                self._command(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._folder,
                env={**os.environ, "ROOT_ACCESS_KEY": KEY, "ROOT_SECRET_KEY": SECRET},
                **settings,
            )
        give_up = time.monotonic() + _READY_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError as error:
                if self._process.poll() is not None or time.monotonic() > give_up:
                    last = (self._folder / "log").read_text(errors="replace")[-1000:]
                    raise S3Unavailable(f"it does not answer ({error}); it says: {last}") from error
                time.sleep(0.05)

    def _command(self) -> list[str]:
        installed = Path.home() / "go/bin/versitygw"
        program = shutil.which("versitygw") or (str(installed) if installed.is_file() else None)
        if program is None:
            return [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)]
        for name in ("iam", "objects"):
            (self._folder / name).mkdir()
        places = ["--iam-dir", str(self._folder / "iam"), "posix", str(self._folder / "objects")]
        return [program, "--port", f"127.0.0.1:{self.port}", "--quiet", *places]
