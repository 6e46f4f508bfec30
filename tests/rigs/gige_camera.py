"""Aravis' fake GigE Vision camera on loopback, and its binding from Debian where this environment has none."""

import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from rigs.real_parts import without

SERVER = "arv-fake-gv-camera-0.8"
_DEBIAN = Path("/usr/lib/python3/dist-packages")


def have_aravis() -> None:
    """Import Aravis' binding, or skip with what is missing."""
    if shutil.which(SERVER) is None:
        without("the GigE Vision camera", f"{SERVER} is missing (apt-get install aravis-tools)")
    try:
        import gi
    except ModuleNotFoundError:
        # Debian's is built for Debian's Python, and fits every other of the same minor version.
        sys.path.append(str(_DEBIAN))
        try:
            import gi  # noqa: F401
        except ImportError as error:
            without("Aravis' binding", f"{error} (apt-get install python3-gi, or neverblink[gige])")
        finally:
            sys.path.remove(str(_DEBIAN))
    from neverblink.camera.streams.gige import aravis
    from neverblink.plant import PlantError

    try:
        aravis()
    except PlantError as error:
        without("Aravis", error)


class FakeGigeCamera:
    """The camera's process; it loses so many packets in a thousand."""

    def __init__(self, *, lost_per_mille: int = 0) -> None:
        self._command = [SERVER, "-i", "127.0.0.1", "-s", "NB01", "-r", str(lost_per_mille)]

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(0.3)
        assert self._process.poll() is None, "the fake camera ended at once: is another one running on 127.0.0.1?"
        return self

    def stop(self) -> None:
        """Stand still, and keep the connection."""
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Move on."""
        self._process.send_signal(signal.SIGCONT)

    def die(self) -> None:
        """End without a word, as a camera whose cable is pulled."""
        self._process.kill()
        self._process.wait(10)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            self.die()
