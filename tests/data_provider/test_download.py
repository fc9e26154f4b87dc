"""Downloads against a server on this machine: whatever it answers, only the right file gets into place."""

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from data_provider import download as download_module
from data_provider.datasets import DATASETS, Benchmark
from data_provider.download import DOWNLOADABLE, download, main
from tests.data_provider.file_server import CONTENT, Server


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
