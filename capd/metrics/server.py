"""Where Prometheus asks: an HTTP server on one address, until SIGTERM or Ctrl-C.

What answers is prometheus-client's; its own server has no limit of time or number for who connects
and says nothing, and looks its own name up before it listens, which here nobody needs.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import socket
import sys
import threading
import time
from socketserver import TCPServer, ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import CollectorRegistry, make_wsgi_app

from capd.errors import ListenError
from capd.metrics.collector import StatusCollector, log

PATIENCE = 10.0  # seconds for a request to come and its answer to go
MOST = 16  # connections at once; each has a thread

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
        log(f"metrics of {status} at http://{listen}/metrics")
        signal.sigwait(_ENDS)


class _Handler(WSGIRequestHandler):
    timeout = 2 * PATIENCE  # of one call; the server ends it sooner

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  the base's name
        """Nothing: a line for each scrape is of no use."""


class _Server(ThreadingMixIn, WSGIServer):
    """One thread for each who asks, up to MOST, and for no longer than PATIENCE."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, host: str, port: int) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._lock = threading.Lock()
        self._ends: dict[Any, float] = {}  # of each connection, monotonic
        super().__init__((host, port), _Handler)

    def server_bind(self) -> None:
        """Without a look into the DNS."""
        TCPServer.server_bind(self)
        host, self.server_port = self.server_address[:2]
        self.server_name = str(host)
        self.setup_environ()

    def process_request(self, request: Any, client_address: Any) -> None:
        """In a thread, if there is room for another."""
        with self._lock:
            has_room = len(self._ends) < MOST
            if has_room:
                self._ends[request] = time.monotonic() + PATIENCE
        if has_room:
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def shutdown_request(self, request: Any) -> None:
        """It is over, however."""
        with self._lock:
            self._ends.pop(request, None)
        super().shutdown_request(request)

    def service_actions(self) -> None:
        """Twice a second: who sends a byte now and then must not stay for ever."""
        now = time.monotonic()
        with self._lock:
            for request in [one for one, end in self._ends.items() if end <= now]:
                with contextlib.suppress(OSError):  # the peer was quicker
                    request.shutdown(socket.SHUT_RDWR)

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
