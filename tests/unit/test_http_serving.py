"""How our pages and interfaces are served."""

import asyncio
import socket
from typing import Any

from neverblink.http_serving.server import HttpServer
from neverblink.plant import Listening


async def test_no_answer_waits_for_its_heads_acknowledgement(monkeypatch: Any) -> None:
    accepted: list[socket.socket] = []
    own = socket.socket.accept

    def accept(self: socket.socket) -> tuple[socket.socket, Any]:
        connection, address = own(self)
        accepted.append(connection)
        return connection, address

    async def app(scope: Any, receive: Any, send: Any) -> None:
        told.append(accepted[0].getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"yes"})

    told: list[int] = []
    monkeypatch.setattr(socket.socket, "accept", accept)
    server, stop = HttpServer("console", app, Listening(port=0), section="console", most=4), asyncio.Event()
    running = asyncio.create_task(server.run(stop))
    reader, writer = await asyncio.open_connection("127.0.0.1", int(server.address.rpartition(":")[2]))
    writer.write(b"GET / HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n")
    async with asyncio.timeout(30):
        assert (await reader.read()).endswith(b"yes\r\n0\r\n\r\n")
    writer.close()
    stop.set()
    await running
    server.close()
    assert told == [1]
