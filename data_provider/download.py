"""Download and verify benchmark files: `python -m data_provider.download ETTh1 Weather`."""

from __future__ import annotations

from utils.signals import end_at_once_on_signals, exit_with, run_tool

if __name__ == "__main__":
    # Before what takes long to import.
    end_at_once_on_signals()

import argparse
import http.client
import shutil
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from tqdm import tqdm

from data_provider.datasets import DATASETS, HUB_REPOSITORY, Benchmark, sha256_of, unknown_name_message
from data_provider.tables.own_table import check_shape, check_table
from data_provider.tables.table import Reading, read_table
from utils.terminal import one_line

_CHUNK_BYTES = 1 << 16
_ATTEMPTS = 4
DOWNLOADABLE = [name for name, benchmark in DATASETS.items() if not benchmark.is_demo]


class WrongFileError(ValueError):
    """A file is not the published one."""


def download(
    name: str,
    root: Path,
    *,
    benchmark: Benchmark | None = None,
    source: str = "auto",
    force: bool = False,
    timeout_seconds: float = 30,
) -> str:
    """Download the file of data set `name` to its place under `root`. Returns a sentence on what was done.

    The file gets its final name only after its size, SHA-256 (if known) and shape are verified. `source` is `origin`
    (the publisher's own file, ETT only), `hub`, or `auto` for the first that works. An interrupted download resumes
    where it stopped, in this call or a later one. Raises ValueError or OSError.
    """
    benchmark = benchmark or DATASETS[name]
    path = root / benchmark.file
    if path.is_file() and not force:
        _verify(path, benchmark, name)
        return f"{path} is there already and right"
    path.parent.mkdir(parents=True, exist_ok=True)
    failures = []
    for label, fetch in _sources(benchmark, source, force=force, timeout_seconds=timeout_seconds):
        partial = path.with_name(f"{path.name}.{label}.part")
        try:
            if partial.is_symlink():
                # What it points to is not ours to write.
                partial.unlink()
            fetch(partial)
            _verify(partial, benchmark, name)
        except WrongFileError as error:
            partial.unlink(missing_ok=True)
            failures.append(f"{label}: {error}")
        # Clients raise errors of many kinds: try the next source after any of them, and report all in the end.
        except Exception as error:
            failures.append(f"{label}: {type(error).__name__}: {' '.join(str(error).split())[:200]}")
        else:
            partial.replace(path)
            return f"{path} fetched from {label}, {path.stat().st_size:,} bytes, SHA-256 {sha256_of(path)}"
    raise OSError(f"--data {name} could not be fetched: {'; '.join(failures)}; put the file at {path} yourself")


def _sources(
    benchmark: Benchmark, source: str, *, force: bool, timeout_seconds: float
) -> list[tuple[str, Callable[[Path], None]]]:
    """Sources in order of preference, with their download functions; only the hub's cache with HF_HUB_OFFLINE."""
    from huggingface_hub.constants import HF_HUB_OFFLINE

    def from_hub(partial: Path) -> None:
        fetch_from_hub(benchmark.file, partial, force=force)

    def from_origin(partial: Path) -> None:
        assert benchmark.url is not None
        fetch_url(benchmark.url, partial, num_bytes=benchmark.num_bytes, timeout_seconds=timeout_seconds)

    sources: list[tuple[str, Callable[[Path], None]]] = [("hub", from_hub)]
    if benchmark.url is not None and not HF_HUB_OFFLINE:
        sources.insert(0, ("origin", from_origin))
    chosen = [entry for entry in sources if source in ("auto", entry[0])]
    if not chosen:
        raise ValueError(f"--source {source} does not have {benchmark.file}: use --source hub")
    return chosen


def fetch_from_hub(file: str, partial: Path, *, force: bool = False) -> None:
    """Download a file of the hub repository to `partial`, through the hub's cache."""
    from huggingface_hub import hf_hub_download

    cached = hf_hub_download(HUB_REPOSITORY, file, repo_type="dataset", force_download=force)
    shutil.copyfile(cached, partial)


def fetch_url(url: str, partial: Path, *, num_bytes: int | None, timeout_seconds: float = 30) -> None:
    """Download `url` to `partial`, resuming an earlier interrupted transfer.

    Raises OSError after four attempts in a row without a new byte (the partial file is kept), and WrongFileError if the
    size is not `num_bytes`.
    """
    attempts_left = _ATTEMPTS
    while True:
        before = partial.stat().st_size if partial.is_file() else 0
        if num_bytes is not None and before >= num_bytes:
            return
        failure: Exception | None = None
        try:
            expected = _transfer(url, partial, start=before, timeout_seconds=timeout_seconds, num_bytes=num_bytes)
        except urllib.error.HTTPError as error:
            if error.code < 500:
                raise
            failure, expected = error, None
        except (OSError, http.client.HTTPException) as error:
            failure, expected = error, None
        now = partial.stat().st_size if partial.is_file() else 0
        if failure is None and (expected is None or now == expected):
            return
        attempts_left = _ATTEMPTS if now > before else attempts_left - 1
        if attempts_left == 0:
            raise OSError(f"{url}: no more bytes after {now:,} ({failure or 'cut off'}); run again to go on from there")


def _transfer(url: str, partial: Path, *, start: int, timeout_seconds: float, num_bytes: int | None) -> int | None:
    """One attempt. Returns the size of the whole file as the server reports it, if it does."""
    request = urllib.request.Request(url, headers={"Range": f"bytes={start}-"} if start else {})
    with urllib.request.urlopen(request, timeout=timeout_seconds) as answer:
        resumed = answer.status == 206 and answer.headers.get("Content-Range", "").startswith(f"bytes {start}-")
        length = answer.headers.get("Content-Length")
        total = int(length) + (start if resumed else 0) if length is not None else None
        if None not in (total, num_bytes) and total != num_bytes:
            raise WrongFileError(f"{url} has {total:,} bytes, the published file {num_bytes:,}")
        with (
            partial.open("ab" if resumed else "wb") as file,
            tqdm(
                desc=partial.name, total=total, initial=start if resumed else 0, unit="B", unit_scale=True, disable=None
            ) as progress,
        ):
            while chunk := answer.read1(_CHUNK_BYTES):
                file.write(chunk)
                if num_bytes is not None and file.tell() > num_bytes:
                    raise WrongFileError(f"{url} sends more than the published file's {num_bytes:,} bytes")
                progress.update(len(chunk))
    return total


def _verify(path: Path, benchmark: Benchmark, name: str) -> None:
    """Raise WrongFileError unless size, SHA-256 and shape are those of the registry."""
    size = path.stat().st_size
    if benchmark.num_bytes is not None and size != benchmark.num_bytes:
        raise WrongFileError(
            f"{path} has {size:,} bytes, the published file {benchmark.num_bytes:,} (--force refetches)"
        )
    found = sha256_of(path)
    if benchmark.sha256 is not None and found != benchmark.sha256:
        raise WrongFileError(
            f"{path} has SHA-256 {found[:12]}..., the published file {benchmark.sha256[:12]}... (--force refetches)"
        )
    try:
        table = read_table(path, Reading(date_column="date"))
        check_shape(table, benchmark, name=name)
        if benchmark.sha256 is None:
            check_table(table)
    except ValueError as error:
        raise WrongFileError(str(error)) from None


def main(arguments: list[str] | None = None) -> int:
    """Run the command. Exit code: 0 if every file is in place, 1 if one is not, 2 for an unknown name."""
    parser = argparse.ArgumentParser(prog="python -m data_provider.download", description=__doc__)
    parser.add_argument("names", nargs="+", metavar="NAME", help=f"all, or some of: {', '.join(DOWNLOADABLE)}")
    parser.add_argument("--root_path", type=Path, default=Path("dataset"), help="folder of the data sets")
    parser.add_argument("--source", choices=["auto", "origin", "hub"], default="auto", help="where to download from")
    parser.add_argument("--force", action="store_true", help="download again, replacing an existing file")
    asked = parser.parse_args(arguments)
    names = DOWNLOADABLE if "all" in asked.names else list(dict.fromkeys(asked.names))
    for name in names:
        if name not in DOWNLOADABLE:
            parser.error(unknown_name_message(name) if name not in DATASETS else f"--data {name} is made, not fetched")
    failed = 0
    for name in names:
        benchmark = DATASETS[name]
        print(f"{name}: {benchmark.origin}; licence: {benchmark.licence}")
        try:
            print(f"  {download(name, asked.root_path, source=asked.source, force=asked.force)}")
        except (ValueError, OSError) as error:
            print(f"error: {one_line(str(error))}", file=sys.stderr)
            failed += 1
    return 1 if failed else 0


if __name__ == "__main__":
    exit_with(run_tool(main))
