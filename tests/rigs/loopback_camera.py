"""What network cameras on loopback have in common: a server, silence, and connections that are cut."""

import socketserver
import threading
from types import TracebackType
from typing import Self


class LoopbackCamera:
    """`silence()` keeps the connections and sends nothing; `cut()` ends them: each serves for its generation."""

    def __init__(self) -> None:
        self.speaking = threading.Event()
        self.speaking.set()
        self.generation = 0

    def serve(self, handler: type[socketserver.StreamRequestHandler]) -> int:
        """Listen for whoever asks; return the port."""
        socketserver.ThreadingTCPServer.allow_reuse_address = True
        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        return int(self._server.server_address[1])

    def silence(self) -> None:
        """Send nothing from now on."""
        self.speaking.clear()

    def cut(self) -> None:
        """Close all connections."""
        self.generation += 1

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cut()
        self._server.shutdown()
        self._server.server_close()
