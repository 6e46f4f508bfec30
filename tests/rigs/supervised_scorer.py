"""One member of the scorers' group, to be killed and stopped."""

import asyncio
import signal
from pathlib import Path

import orjson
import yaml

from neverblink.plant import Plant
from rigs.supervised_process import SupervisedProcess

_AGAIN_S = 0.5
_READY = '"state":"ready"'
_NO_BROKER = "no broker answers there"


class SupervisedScorer(SupervisedProcess):
    """A scorer of that plant file as a process; `kills` are those of its restarts that were our doing."""

    def __init__(self, name: str, plant: Plant, folder: Path) -> None:
        file = folder / f"{name}.yaml"
        file.write_text(yaml.safe_dump(orjson.loads(plant.model_dump_json())))
        arguments = ("-m", "neverblink", "scorer", "--plant", str(file), "--instance", name)
        super().__init__(name, arguments, folder, again_s=_AGAIN_S)
        self.kills = 0

    async def ready(self, within_s: float = 120) -> None:
        """Wait until it takes work. Raises TimeoutError, RuntimeError when it ends before."""
        ready = asyncio.create_task(self.said(_READY, within_s=within_s))
        while not ready.done():
            if self.restarts:
                ready.cancel()
                raise RuntimeError(f"the scorer {self.name} ended:\n{self.log.read_text()[-2000:]}")
            await asyncio.sleep(0.1)
        await ready

    @property
    def cut_starts(self) -> int:
        """Return how many of its starts found no broker: they end with a sentence, and a supervisor tries again."""
        return self.log.read_text().count(_NO_BROKER)

    def kill(self) -> None:
        """End it at once, as the kernel does when memory runs out; nothing happens while it is down."""
        if self._process is not None and self._process.returncode is None:
            self.kills += 1
            self.send(signal.SIGKILL)

    def stop(self) -> None:
        """Take its processor away."""
        self.send(signal.SIGSTOP)

    def go_on(self) -> None:
        """Give it back."""
        self.send(signal.SIGCONT)
