"""Where Prometheus asks: an HTTP server on one address, until SIGTERM or Ctrl-C.

What answers is prometheus-client's; its own server has no time limit for who connects and says
nothing, and looks its own name up before it listens, which here nobody needs.
"""

from __future__ import annotations

import errno
import os
import signal
import socket
import sys
import threading
from socketserver import TCPServer, ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import CollectorRegistry, make_wsgi_app

from capd.errors import ListenError
from capd.metrics.collector import StatusCollector

PATIENCE = 10  # seconds for a request to come, or an answer to go

_ENDS = {signal.SIGTERM, signal.SIGINT}
_ADVICE = {
    errno.EADDRINUSE: "another program has it; choose another port",
    errno.EADDRNOTAVAIL: "no interface has this address",
    errno.EACCES: "ports below 1024 are for root only; choose another",
}


def serve(listen: str, status: str) -> None:
    """Answer at `listen`, an address and a port, from the status file.  ListenError."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _ENDS)  # threads inherit it: only `sigwait` ends us
    registry = CollectorRegistry()
    registry.register(StatusCollector(status))
    with _listening(listen) as server:
        server.set_app(make_wsgi_app(registry))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        print(f"metrics of {status} at http://{listen}/metrics", file=sys.stderr, flush=True)
        signal.sigwait(_ENDS)


class _Handler(WSGIRequestHandler):
    timeout = PATIENCE

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  the base's name
        """Nothing: a line for each scrape is of no use."""


class _Server(ThreadingMixIn, WSGIServer):
    """One thread for each who asks."""

    daemon_threads = True

    def __init__(self, host: str, port: int) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host, port), _Handler)

    def server_bind(self) -> None:
        """Without a look into the DNS."""
        TCPServer.server_bind(self)
        host, self.server_port = self.server_address[:2]
        self.server_name = str(host)
        self.setup_environ()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Who leaves before the answer is no error of ours."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


def _listening(listen: str) -> _Server:
    host, _, port = listen.rpartition(":")
    try:
        return _Server(host.removeprefix("[").removesuffix("]"), int(port))
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        advice = _ADVICE.get(error.errno or 0, "choose another address")
        raise ListenError(
            f"metrics.listen: cannot listen on {listen}: {reason}: {advice}"
        ) from error
