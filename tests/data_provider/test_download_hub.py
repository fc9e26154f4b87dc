"""Downloads from a mirror of the hub."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

from tests.data_provider.file_server import CONTENT, Handler, Server


class HubHandler(Handler):
    """What the client of the hub asks a mirror: the file's identity first, then the file."""

    def do_HEAD(self) -> None:
        self.answer()

    def do_GET(self) -> None:
        self.answer()
        self.wfile.write(self.server.content)

    def answer(self) -> None:
        self.server.ranges.append(self.path)
        self.send_response(200)
        self.send_header("ETag", f'"{hashlib.sha256(self.server.content).hexdigest()}"')
        self.send_header("X-Repo-Commit", "0" * 40)
        self.send_header("Content-Length", str(len(self.server.content)))
        self.end_headers()


COMMAND = """
import sys
from dataclasses import replace
from pathlib import Path
from data_provider.datasets import DATASETS
from data_provider.download import download
small = dict(file="small/small.csv", num_rows=60, num_channels=3, num_bytes=None, sha256=None)
benchmark = replace(DATASETS["Exchange"], **small)
print(download("Exchange", Path(sys.argv[1]), benchmark=benchmark))
"""


def test_the_hubs_mirror_and_offline_variables_are_honoured(tmp_path: Path, server: Server):
    server.RequestHandlerClass = HubHandler
    environment = os.environ | {
        "HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}",
        "HF_HOME": str(tmp_path / "hub"),
        "HF_HUB_OFFLINE": "0",
        "NO_PROXY": "127.0.0.1",
        "PYTHONPATH": str(Path(__file__).resolve().parents[2]),
    }

    def run(folder: str, **changes: str) -> subprocess.CompletedProcess:
        command = [sys.executable, "-c", COMMAND, str(tmp_path / folder)]
        return subprocess.run(command, env=environment | changes, capture_output=True, text=True, check=False)

    offline_first = run("early", HF_HUB_OFFLINE="1")
    assert offline_first.returncode != 0
    assert "--data Exchange could not be fetched: hub: " in offline_first.stderr
    assert server.ranges == []
    assert "fetched from hub" in run("online").stdout
    assert (tmp_path / "online/small/small.csv").read_bytes() == CONTENT
    assert "/datasets/thuml/Time-Series-Library/resolve/main/small/small.csv" in server.ranges
    num_asked = len(server.ranges)
    assert "fetched from hub" in run("later", HF_HUB_OFFLINE="1").stdout
    assert len(server.ranges) == num_asked
