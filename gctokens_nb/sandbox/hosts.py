"""By which names a server may be addressed, so that no web page reaches it by DNS rebinding."""

import ipaddress
import socket


class OwnNames:
    """The values of the Host header that name a server.

    A page of another site can make its own name resolve to this machine, and then counts for the browser as of one
    origin with the server; but its requests still carry that name. Names of this machine and IP addresses cannot be
    made to resolve elsewhere.

    Args:
        host: The name or address that the server was told to listen on.
        address: The IP address that it listens on.
        port: The port that it listens on.
    """

    def __init__(self, host: str, address: str, port: int) -> None:
        names = {"localhost", "127.0.0.1", "::1", host.lower(), address}
        self._any_address = ipaddress.ip_address(address).is_unspecified
        if self._any_address:
            names.add(socket.gethostname().lower())
        self._port = port
        self._headers = {_with_port(name, port) for name in names if name}
        if port == 80:
            self._headers |= {header.removesuffix(":80") for header in self._headers}

    def __contains__(self, header: str) -> bool:
        """Whether this is the value of a Host header that names the server."""
        return header.lower() in self._headers or (self._any_address and self._is_address(header))

    def __str__(self) -> str:
        """The names, to show."""
        return ", ".join(sorted(self._headers))

    def _is_address(self, header: str) -> bool:
        name, _, port = header.rpartition(":")
        try:
            ipaddress.ip_address(name.removeprefix("[").removesuffix("]"))
        except ValueError:
            return False
        return port == str(self._port)


def _with_port(name: str, port: int) -> str:
    return f"[{name}]:{port}" if ":" in name else f"{name}:{port}"
