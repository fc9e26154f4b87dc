"""Downloads against a server on this machine: whatever it answers, only the right file gets into place."""

import hashlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from data_provider import download as download_module
from data_provider.datasets import DATASETS, Benchmark
from data_provider.download import DOWNLOADABLE, download, main
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


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def benchmark(server: Server) -> Benchmark:
    """An entry whose published file is CONTENT."""
    return replace(
        DATASETS["ETTh1"],
        file="small/small.csv",
        num_rows=60,
        num_channels=3,
        columns=("a", "b", "OT"),
        url=f"http://127.0.0.1:{server.server_port}/small.csv",
        num_bytes=len(CONTENT),
        sha256=hashlib.sha256(CONTENT).hexdigest(),
    )


def fetch(root: Path, benchmark: Benchmark, **changes) -> str:
    options = {"source": "origin", "timeout_seconds": 0.2, **changes}
    return download("ETTh1", root, benchmark=benchmark, **options)


def files_under(root: Path) -> list[str]:
    return sorted(path.name for path in root.rglob("*") if path.is_file())


def test_a_good_answer_is_put_in_place_and_not_fetched_twice(tmp_path: Path, server: Server, benchmark: Benchmark):
    assert "fetched from origin" in fetch(tmp_path, benchmark)
    assert (tmp_path / "small/small.csv").read_bytes() == CONTENT
    assert files_under(tmp_path) == ["small.csv"]
    assert "there already and right" in fetch(tmp_path, benchmark)
    assert server.ranges == [None]


def test_a_part_that_is_a_link_is_not_written_through(tmp_path: Path, benchmark: Benchmark):
    (tmp_path / "victim").write_text("precious")
    (tmp_path / "small").mkdir()
    (tmp_path / "small/small.csv.origin.part").symlink_to(tmp_path / "victim")
    fetch(tmp_path, benchmark)
    assert (tmp_path / "victim").read_text() == "precious"
    assert (tmp_path / "small/small.csv").read_bytes() == CONTENT
    assert not (tmp_path / "small/small.csv").is_symlink()


def test_a_cut_off_answer_is_taken_up_where_it_ended(tmp_path: Path, server: Server, benchmark: Benchmark):
    server.behaviour = "cut off"
    fetch(tmp_path, benchmark)
    assert (tmp_path / "small/small.csv").read_bytes() == CONTENT
    assert server.ranges == [None, f"bytes={len(CONTENT) // 2}-"]


def test_a_server_without_ranges_is_asked_for_the_whole_again(tmp_path: Path, server: Server, benchmark: Benchmark):
    server.behaviour = "no ranges"
    fetch(tmp_path, benchmark)
    assert (tmp_path / "small/small.csv").read_bytes() == CONTENT


def test_a_stalled_answer_is_given_up_and_a_later_call_goes_on(tmp_path: Path, server: Server, benchmark: Benchmark):
    server.behaviour = "stalled"
    with pytest.raises(OSError, match=r"no more bytes after 100 .*run again to go on from there"):
        fetch(tmp_path, benchmark)
    assert files_under(tmp_path) == ["small.csv.origin.part"]
    server.behaviour = "good"
    fetch(tmp_path, benchmark)
    assert server.ranges[-1] == "bytes=100-"
    assert (tmp_path / "small/small.csv").read_bytes() == CONTENT
    assert files_under(tmp_path) == ["small.csv"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (CONTENT.replace(b"2024-01-01", b"2024-01-02"), "has SHA-256"),
        (b"<html>sign in</html>", "has 20 bytes, the published file"),
        (CONTENT + b"more", "bytes, the published file"),
    ],
)
def test_a_wrong_answer_leaves_nothing_behind(
    tmp_path: Path, server: Server, benchmark: Benchmark, content: bytes, message: str
):
    server.content = content
    with pytest.raises(OSError, match=message):
        fetch(tmp_path, benchmark)
    assert files_under(tmp_path) == []


def test_an_answer_without_length_that_goes_on_too_long_is_stopped(
    tmp_path: Path, server: Server, benchmark: Benchmark
):
    server.behaviour, server.content = "endless", CONTENT * 3
    with pytest.raises(OSError, match="sends more than the published file's"):
        fetch(tmp_path, benchmark)
    assert files_under(tmp_path) == []


@pytest.mark.parametrize(("behaviour", "code"), [("missing", 404), ("failing", 503)])
def test_an_error_of_the_server_is_reported(
    tmp_path: Path, server: Server, benchmark: Benchmark, behaviour: str, code: int
):
    server.behaviour = behaviour
    with pytest.raises(OSError, match=f"could not be fetched: origin: .*{code}"):
        fetch(tmp_path, benchmark)
    assert files_under(tmp_path) == []


def test_a_file_of_the_wrong_shape_is_refused_where_no_hash_is_known(tmp_path: Path, benchmark: Benchmark):
    unknown = replace(benchmark, sha256=None, num_bytes=None, num_rows=61)
    with pytest.raises(OSError, match="expected 61 rows x 3 channels, found 60 x 3"):
        fetch(tmp_path, unknown)
    assert files_under(tmp_path) == []
    fetch(tmp_path, replace(unknown, num_rows=60))
    assert files_under(tmp_path) == ["small.csv"]


def test_the_hub_is_asked_when_the_origin_fails(
    tmp_path: Path, server: Server, benchmark: Benchmark, monkeypatch: pytest.MonkeyPatch
):
    cached = tmp_path / "cached.csv"
    cached.write_bytes(CONTENT)
    asked = []

    def hf_hub_download(repository: str, file: str, **options: object) -> str:
        asked.append((repository, file, options["repo_type"]))
        return str(cached)

    monkeypatch.setattr("huggingface_hub.hf_hub_download", hf_hub_download)
    server.behaviour = "missing"
    assert "fetched from hub" in fetch(tmp_path / "root", benchmark, source="auto")
    assert asked == [("thuml/Time-Series-Library", "small/small.csv", "dataset")]
    assert (tmp_path / "root/small/small.csv").read_bytes() == CONTENT


def test_a_wrong_file_in_place_is_reported_and_replaced_only_by_force(
    tmp_path: Path, server: Server, benchmark: Benchmark
):
    path = tmp_path / "small/small.csv"
    path.parent.mkdir()
    path.write_bytes(b"mine")
    with pytest.raises(ValueError, match="has 4 bytes, the published file"):
        fetch(tmp_path, benchmark)
    assert path.read_bytes() == b"mine"
    server.behaviour = "missing"
    with pytest.raises(OSError, match="404"):
        fetch(tmp_path, benchmark, force=True)
    assert path.read_bytes() == b"mine"
    server.behaviour = "good"
    fetch(tmp_path, benchmark, force=True)
    assert path.read_bytes() == CONTENT


def test_the_command_prints_source_and_licence_and_counts_failures(
    tmp_path: Path, server: Server, benchmark: Benchmark, monkeypatch: pytest.MonkeyPatch, capsys
):
    monkeypatch.setitem(download_module.DATASETS, "ETTh1", benchmark)
    assert main(["ETTh1", "--root_path", str(tmp_path)]) == 0
    assert "ETDataset (zhouhaoyi/ETDataset); licence: CC BY-ND 4.0" in capsys.readouterr().out
    server.behaviour = "missing"
    assert main(["ETTh1", "--root_path", str(tmp_path / "other"), "--source", "origin"]) == 1
    assert "error: --data ETTh1 could not be fetched" in capsys.readouterr().err


def test_an_unknown_name_is_refused_before_anything_is_fetched(server: Server, capsys: pytest.CaptureFixture):
    with pytest.raises(SystemExit) as refusal:
        main(["ETTh1", "Wether"])
    assert refusal.value.code == 2
    assert "the nearest are Weather" in capsys.readouterr().err
    assert server.ranges == []
    assert set(DOWNLOADABLE) == set(DATASETS) - {"demo"}


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
