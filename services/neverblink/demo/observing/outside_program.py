"""A program that is not ours beside the services: started, asked whether it serves, ended."""

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path

from neverblink.service_life.children import ProcessError, die_with_parent

_ASK_EVERY_S = 0.1
_ANSWER_S = 5.0
_TERM_S = 20.0
_LAST_LINES = 6


class OutsideProgram:
    """One child process that says over HTTP whether it serves. It ends with this process, however this one ends."""

    def __init__(
        self,
        command: Sequence[str | Path],
        ready_at: str,
        log: Path,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Prepare it: `ready_at` is a URL that answers once it serves, `environment` comes on top of our own."""
        self._command = [str(word) for word in command]
        self._ready_at = ready_at
        self.log = log
        self._environment = environment or {}
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and return at once. From the main thread: Linux ends it with the thread that started it.

        Raises OSError.
        """
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(  # noqa: S603 - a program that was looked up, and our arguments
                self._command,
                env={**os.environ, **self._environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                # Ctrl-C reaches this process only, which then ends the others in order.
                start_new_session=True,
                preexec_fn=die_with_parent if sys.platform == "linux" else None,
            )

    @property
    def has_ended(self) -> bool:
        """Return whether it ended by itself, or was never started."""
        return self._process is None or self._process.poll() is not None

    def serves(self) -> bool:
        """Return whether it answers now."""
        try:
            with urllib.request.urlopen(self._ready_at, timeout=_ANSWER_S) as answer:  # noqa: S310 - on this machine
                return bool(answer.status == 200)
        except (OSError, urllib.error.URLError):
            return False

    def until_serving(self, within_s: float) -> None:
        """Wait until it serves. Raises ProcessError, with its last words, when it ended or the time is over."""
        give_up = time.monotonic() + within_s
        while not self.serves():
            if self.has_ended:
                raise ProcessError(f"{self._name} ended by itself:\n{self._last_words()}")
            if time.monotonic() > give_up:
                raise ProcessError(f"{self._name} does not serve after {within_s:.0f} s:\n{self._last_words()}")
            time.sleep(_ASK_EVERY_S)

    def stop(self) -> None:
        """End it with SIGTERM, and after a while with SIGKILL."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(_TERM_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    @property
    def _name(self) -> str:
        return Path(self._command[0]).name

    def _last_words(self) -> str:
        lines = self.log.read_text(errors="replace").splitlines()[-_LAST_LINES:]
        return "\n".join(f"  {line[:400]}" for line in lines) + f"\n  (all of it: {self.log})"
