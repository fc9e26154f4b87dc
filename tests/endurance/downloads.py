"""Downloads killed while a slow server sends, and gone on with until the file is there."""

from __future__ import annotations

import contextlib
import hashlib
import multiprocessing
import random
import threading
import time
from dataclasses import replace
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from data_provider.datasets import DATASETS, Benchmark
from tests.endurance.counts import Counts

START = datetime(2016, 7, 1)
CONTENT = "".join(["date,OT\n", *(f"{START + timedelta(hours=n)},{n}\n" for n in range(40_000))]).encode()
CHUNK = 1 << 15
KILLS_OF_ONE_DOWNLOAD = 10


class Server(ThreadingHTTPServer):
    daemon_threads = True


class Slow(BaseHTTPRequestHandler):
    """Sends the content from the byte that was asked for, slowly."""

    def do_GET(self) -> None:
        asked = self.headers.get("Range")
        first = int(asked.split("=")[1].split("-")[0]) if asked else 0
        self.send_response(206 if first else 200)
        if first:
            self.send_header("Content-Range", f"bytes {first}-{len(CONTENT) - 1}/{len(CONTENT)}")
        self.send_header("Content-Length", str(len(CONTENT) - first))
        self.end_headers()
        with contextlib.suppress(ConnectionError):  # a client that was killed
            for start in range(first, len(CONTENT), CHUNK):
                self.wfile.write(CONTENT[start : min(start + CHUNK, len(CONTENT))])
                time.sleep(0.02)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def _fetch(benchmark: Benchmark, root: Path) -> None:
    from data_provider import download as module

    module.check_shape = module.check_table = lambda *_, **__: None  # pyright: ignore
    module.download("ETTh1", root, benchmark=benchmark, source="origin", timeout_seconds=5)


def kill_downloads(folder: Path, num_kills: int) -> Counts:
    """Kill downloads that often; each file that is there in the end is the right one."""
    counts, chance, server = Counts(), random.Random(0), Server(("127.0.0.1", 0), Slow)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sha256 = hashlib.sha256(CONTENT).hexdigest()
    url = f"http://127.0.0.1:{server.server_address[1]}/file"
    benchmark = replace(DATASETS["ETTh1"], url=url, sha256=sha256, num_bytes=len(CONTENT))
    context, number = multiprocessing.get_context("fork"), 0
    while counts.tried["kills"] < num_kills:
        root, number = folder / f"root-{number}", number + 1
        for attempt in range(KILLS_OF_ONE_DOWNLOAD + 1):
            process = context.Process(target=_fetch, args=(benchmark, root))
            process.start()
            process.join(chance.uniform(0.05, 2.0) if attempt < KILLS_OF_ONE_DOWNLOAD else 120)
            if process.is_alive():
                process.kill()
                counts.tried["kills"] += 1
            process.join()
            if process.exitcode == 0:
                break
        path = root / benchmark.file
        if not path.is_file():
            counts.fail("lost", f"{path} did not arrive")
        elif path.read_bytes() != CONTENT:
            counts.fail("believed", f"{path} is another file")
        counts.tried["downloads"] += 1
    server.shutdown()
    return counts
