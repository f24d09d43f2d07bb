"""People who connect to the metrics and mean ill: they get their turn, and no more than that."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, make_wsgi_app

from capd.metrics import server as servers
from capd.metrics.collector import StatusCollector
from capd.metrics.server import MOST
from tests.support.net import Namespace, inside
from tests.support.scrape import METRICS, answers, fetch
from tests.support.wait import wait_for

PATIENCE = 1.0


@pytest.fixture
def served(
    net: Namespace,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> Iterator[Namespace]:
    """A server of this process in a network of its own, less patient than the real one."""
    monkeypatch.setattr(servers, "PATIENCE", PATIENCE)
    registry = CollectorRegistry()
    registry.register(StatusCollector(str(tmp_path / "status.json")))
    with inside(net.name):
        server = servers._listening(METRICS)
    with server:
        server.set_app(make_wsgi_app(registry))
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        assert "capd_up 0.0" in fetch(net, METRICS)
        assert "capd does not run" in capfd.readouterr().err  # which is said once
        yield net
        server.shutdown()
        thread.join()


def connect(net: Namespace, until: ExitStack, count: int = 1) -> list[socket.socket]:
    """So many who are there, and say nothing yet."""
    host, _, port = METRICS.partition(":")
    with inside(net.name):
        return [
            until.enter_context(socket.create_connection((host, int(port)), 10))
            for _ in range(count)
        ]


def is_over(peer: socket.socket) -> bool:
    """Whether the server has closed this; it says nothing to who never asks."""
    try:
        return peer.recv(65536) == b""
    except ConnectionError:
        return True


@pytest.mark.security("metrics")
def test_drip_by_drip(served: Namespace, capfd: pytest.CaptureFixture[str]) -> None:
    """Those who send a byte now and then take all places for a while, and not for ever."""
    with ExitStack() as until:
        began = time.monotonic()
        peers = connect(served, until, MOST)
        for peer in peers:
            peer.sendall(b"GET /metrics HTTP/1.0\r\nX: ")
        (late,) = connect(served, until)
        assert is_over(late)
        assert time.monotonic() - began < PATIENCE  # told at once

        def drip() -> bool:
            for peer in peers:
                with suppress(OSError):
                    peer.sendall(b"x")
            return answers(served, METRICS, "/metrics", "capd_up 0.0")

        wait_for(drip, 5 * PATIENCE, "an answer")
        assert all(is_over(peer) for peer in peers)
    assert capfd.readouterr().err == ""


@pytest.mark.security("metrics")
def test_hundreds_who_say_nothing(served: Namespace, capfd: pytest.CaptureFixture[str]) -> None:
    before = threading.active_count()
    with ExitStack() as until:
        peers = connect(served, until, 300)
        assert threading.active_count() <= before + MOST
        assert all(is_over(peer) for peer in peers)
    wait_for(lambda: answers(served, METRICS, "/metrics", "capd_up 0.0"), 10, "an answer")
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    "request_",
    [
        b"GET /" + b"a" * 200_000 + b" HTTP/1.0\r\n\r\n",
        b"GET / HTTP/1.0\r\n" + b"X: y\r\n" * 1000 + b"\r\n",
        b"GET / HTTP/1.0\r\nX: " + b"a" * 200_000 + b"\r\n\r\n",
        b"\x16\x03\x01" + bytes(500) + b"\n",
        b"POST /metrics HTTP/1.0\r\nContent-Length: 99999999999\r\n\r\n",
        b"GET /../../etc/passwd HTTP/1.0\r\n\r\n",
        b"GET /metrics?name[]=%1b%0d%0a HTTP/1.0\r\n\r\n",
    ],
    ids=["path", "headers", "header", "TLS", "body", "files", "query"],
)
@pytest.mark.security("metrics")
def test_strange_requests(
    served: Namespace, request_: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    """Nothing but metrics or an error comes back, and nothing is logged."""
    answer = b""
    with ExitStack() as until, suppress(ConnectionError):
        (peer,) = connect(served, until)
        peer.sendall(request_)
        while more := peer.recv(65536):
            answer += more
    assert b"root:" not in answer
    assert b"Traceback" not in answer
    assert "capd_up 0.0" in fetch(served, METRICS)
    assert capfd.readouterr().err == ""
