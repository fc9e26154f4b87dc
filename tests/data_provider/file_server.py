"""A server on this machine that answers as a test says."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.data_provider.conftest import small_table

CONTENT = small_table(60).to_csv(index=False).encode()


class Server(ThreadingHTTPServer):
    """Answers as `behaviour` says, and remembers the ranges it was asked for."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.behaviour, self.ranges, self.content = "good", [], CONTENT


class Handler(BaseHTTPRequestHandler):
    """One answer; HTTP/1.0, so that a cut-off answer ends with the connection."""

    server: Server

    def do_GET(self) -> None:
        asked, content = self.headers.get("Range"), self.server.content
        self.server.ranges.append(asked)
        behaviour = self.server.behaviour
        if behaviour == "missing":
            self.send_error(404)
            return
        if behaviour == "failing":
            self.send_error(503)
            return
        start = int(asked.split("=")[1].split("-")[0]) if asked and behaviour != "no ranges" else 0
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        if behaviour != "endless":
            self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        first = len(self.server.ranges) == 1
        if behaviour in ("cut off", "no ranges") and first:
            self.wfile.write(content[: len(content) // 2])
        elif behaviour == "stalled":
            self.wfile.write(content[start : start + 100] if first else b"")
            self.wfile.flush()
            time.sleep(1)
        else:
            self.wfile.write(content[start:])

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


@contextmanager
def serving() -> Iterator[Server]:
    """A server that answers during the `with` block."""
    server = Server()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()
