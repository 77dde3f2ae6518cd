"""A server on a raw socket that answers with exact bytes: whatever a script says, HTTP or not.

Which script is played is a number in the path, so that one server serves all faults at a time:
`http://127.0.0.1:<port>/<number>/api/v2/…`.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import socket
import struct
import threading
from collections.abc import Sequence
from typing import NamedTuple, Self

REQUEST_LIMIT = 1 << 20


class Send(NamedTuple):
    """Send these bytes at once. Where they hold `%TOKEN%`, the request's own token or client secret is put."""

    data: bytes


class Drip(NamedTuple):
    """Send these bytes one at a time, and begin again for as long as anybody listens."""

    data: bytes
    seconds: float = 0.02


class Flood(NamedTuple):
    """Send these bytes over and over, as fast as they are taken."""

    data: bytes


class Silence(NamedTuple):
    """Say nothing more and keep the connection open, until the other side closes it."""


class Reset(NamedTuple):
    """Break the connection with a TCP reset."""


Step = Send | Drip | Flood | Silence | Reset
NOT_FOUND = (Send(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"),)


class Heard(NamedTuple):
    """A request: the address it came to, and its bytes."""

    address: tuple[str, int]
    data: bytes

    @property
    def host(self) -> str:
        """The Host header."""
        return _fields(self.data)[b"host"].decode("latin-1")


class FaultServer:
    """Plays `scripts[number]` to each request below `/<number>/`, then closes the connection.

    Asked to be a proxy (CONNECT), it plays the first.

    Args:
        scripts:
            What to send for each number.
        sockets:
            Where to listen; a free port of 127.0.0.1 where none are given.

    Attributes:
        port: int
            Of the first socket.
        heard: list of Heard
            All requests, in the order they came.
        asked: Event
            Set at each request.
    """

    def __init__(self, scripts: Sequence[Sequence[Step]], sockets: Sequence[socket.socket] = ()) -> None:
        self.scripts = scripts
        self.heard: list[Heard] = []
        self.asked = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._sockets = sockets or [socket.create_server(("127.0.0.1", 0), backlog=512)]
        self.port: int = self._sockets[0].getsockname()[1]
        self._thread = threading.Thread(target=self._run, name="fault-server", daemon=True)

    def url(self, number: int) -> str:
        """The base address at which script `number` is played."""
        return f"http://127.0.0.1:{self.port}/{number}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def script(self, head: bytes) -> Sequence[Step]:
        """What to play to a request that begins with these bytes."""
        number = b"0" if head.startswith(b"CONNECT ") else head.split(b"/")[1]
        return self.scripts[int(number)] if number.isdigit() else NOT_FOUND

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        servers = [
            self._loop.run_until_complete(asyncio.start_server(self._serve, sock=one, limit=REQUEST_LIMIT))
            for one in self._sockets
        ]
        self._loop.run_forever()
        for server in servers:
            server.close()
        for task in (tasks := asyncio.all_tasks(self._loop)):
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self._loop.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
                head = await reader.readuntil(b"\r\n\r\n")
                fields = _fields(head)
                body = await reader.readexactly(int(fields.get(b"content-length", b"0")))
                self.heard.append(Heard(writer.get_extra_info("sockname")[:2], head + body))
                self.asked.set()
                for step in self.script(head):
                    await _play(step, reader, writer, _secret(fields))
        finally:
            writer.close()


async def _play(
    step: Step, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, secret: bytes
) -> None:
    match step:
        case Send(data):
            writer.write(data.replace(b"%TOKEN%", secret))
            await writer.drain()
        case Drip(data, seconds):
            while True:
                for number in range(len(data)):
                    writer.write(data[number : number + 1])
                    await writer.drain()
                    await asyncio.sleep(seconds)
        case Flood(data):
            while True:
                writer.write(data)
                await writer.drain()
                await asyncio.sleep(0)
        case Silence():
            await reader.read()
        case Reset():
            raw = writer.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()


def _fields(head: bytes) -> dict[bytes, bytes]:
    pairs = (line.partition(b":") for line in head.split(b"\r\n")[1:])
    return {name.strip().lower(): value.strip() for name, _, value in pairs}


def _secret(fields: dict[bytes, bytes]) -> bytes:
    """What the request's Authorization header proves itself with: the bearer token, or the client secret."""
    kind, _, value = fields.get(b"authorization", b"").partition(b" ")
    if kind.lower() == b"basic":
        return base64.b64decode(value).partition(b":")[2]
    return value or b"none"
