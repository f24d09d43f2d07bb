"""A webhook as the [alert] command: curl, as README has it."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

from capd.delivery.process import Delivery
from capd.spool import Spool
from tests.support.need import need
from tests.support.programs import ALERT, config, quoted


def test_a_webhook(tmp_path: Path) -> None:
    """As etc/capd.toml's neighbour in the README shows it: curl, the text as the body."""
    need("curl")
    bodies: list[bytes] = []

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing to say."""

    with HTTPServer(("127.0.0.1", 0), Hook) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/"
        words = ("/usr/bin/curl", "-fsS", "--data-binary", "@-", url)
        spool = Spool(str(tmp_path))
        spool.put(ALERT)
        Delivery(config(tmp_path, quoted(*words)), spool, ()).run()
        server.shutdown()
    assert b"v0: lost 5 packets" in bodies[0]
