"""A tracker never keeps a training waiting: wandb goes offline, with a line that says why."""

from __future__ import annotations

import http.server
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from utils.files import write_json
from utils.run_folder import RunFolder
from utils.tracking import wandb_start
from utils.tracking.trackers import AccelerateTracking

wandb = pytest.importorskip("wandb")


class Host:
    """Notes how a tracker is started; the first `failures` starts fail."""

    def __init__(self, failures: int = 0) -> None:
        self.failures, self.started = failures, []

    def init_trackers(
        self,
        project_name: str,  # noqa: ARG002
        config: dict | None = None,  # noqa: ARG002
        init_kwargs: dict | None = None,
    ) -> None:
        self.started.append(dict((init_kwargs or {}).popitem()[1]))
        if len(self.started) <= self.failures:
            raise wandb.errors.CommError("Run initialization has timed out after 10.0 sec.\nSee the docs")

    def log(self, values: dict, step: int | None = None, log_kwargs: dict | None = None) -> None: ...

    def get_tracker(self, name: str, unwrap: bool = False) -> Any:  # noqa: ARG002
        class Run:
            def define_metric(self, *names: str, **options: Any) -> None: ...

        return Run()

    def end_training(self) -> None: ...


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("WANDB")]:
        monkeypatch.delenv(name)


@pytest.fixture
def silent_server() -> Iterator[str]:
    """A server that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def refusing_server() -> Iterator[str]:
    """A server that answers, if only with an error."""
    server = http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def start(folder: Path, name: str, host: Host) -> None:
    AccelerateTracking(name, "project", host).start(run_id="run", group="g", settings={}, folder=folder)


def test_any_answer_counts_and_silence_does_not(silent_server, refusing_server):
    assert wandb_start.answers(refusing_server, 5)
    assert not wandb_start.answers(silent_server, 0.2)
    assert not wandb_start.answers("http://127.0.0.1:1", 5)
    assert not wandb_start.answers("not a url", 5)


def test_a_server_that_does_not_answer_is_not_waited_for(silent_server, monkeypatch, caplog):
    found = SimpleNamespace(settings=SimpleNamespace(base_url=silent_server))
    monkeypatch.setattr(wandb, "login", lambda **_: True)
    monkeypatch.setattr(wandb, "setup", lambda: found)
    monkeypatch.setattr(wandb_start, "SECONDS_TO_ANSWER", 0.2)
    assert wandb_start.wandb_mode() == "offline"
    assert "does not answer" in caplog.text and "recorded offline" in caplog.text


def test_a_wrong_mode_and_a_wrong_key_are_said_and_the_run_goes_offline(monkeypatch, caplog):
    monkeypatch.setenv("WANDB_MODE", "of")
    assert wandb_start.wandb_mode() == "offline" == os.environ["WANDB_MODE"]
    assert "WANDB_MODE=of is none of online, offline" in caplog.text
    monkeypatch.delenv("WANDB_MODE")
    monkeypatch.setenv("WANDB_API_KEY", "short")

    def refuse(**_: Any) -> bool:
        raise wandb.errors.AuthenticationError("API key must be 40 characters long, yours was 5")

    monkeypatch.setattr(wandb, "login", refuse)
    monkeypatch.setattr(wandb, "setup", lambda: SimpleNamespace(settings=SimpleNamespace(base_url="")))
    monkeypatch.setattr(wandb_start, "answers", lambda *_: True)
    assert wandb_start.wandb_mode() == "offline"
    assert "the wandb account cannot be used (API key must be 40 characters long" in caplog.text
    assert "WANDB_API_KEY" not in os.environ


def test_a_start_that_fails_is_tried_again_offline(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("utils.tracking.trackers.wandb_mode", lambda: "online")
    host = Host(failures=1)
    start(tmp_path, "wandb", host)
    assert [options["mode"] for options in host.started] == ["online", "offline"]
    assert host.started[0]["settings"].init_timeout == wandb_start.SECONDS_TO_START
    assert "wandb cannot be used (Run initialization has timed out after 10.0 sec.)" in caplog.text
    assert wandb_start.SECONDS_TO_ANSWER + wandb_start.SECONDS_TO_START <= 15


@pytest.mark.parametrize("tracker", ["wandb", "trackio"])
def test_an_overwritten_run_is_another_one_for_the_tracker_and_a_continued_run_the_same(tmp_path, monkeypatch, tracker):
    monkeypatch.setattr("utils.tracking.trackers.wandb_mode", lambda: "offline")
    folder, host = RunFolder(tmp_path / "run"), Host()
    folder.create()
    start(folder.path, tracker, host)
    write_json(folder.metrics, {})
    for overwrite in (True, False, True):
        folder.prepare(starts_anew=overwrite)
        start(folder.path, tracker, host)
        write_json(folder.metrics, {})
    key = "id" if tracker == "wandb" else "name"
    assert [options[key] for options in host.started] == ["run", "run-2", "run-2", "run-3"]


@pytest.mark.long
@pytest.mark.parametrize("variables", [{"WANDB_MODE": "of"}, {"WANDB_API_KEY": "short"}, {"WANDB_API_KEY": "a" * 40}])
def test_a_run_is_trained_and_recorded_whatever_the_environment_says(tmp_path, silent_server, variables):
    from tests.utils.tracking.test_config import run

    said = run(tmp_path, "--track", "wandb", **{"WANDB_BASE_URL": silent_server, **variables})
    assert "the run is recorded offline" in said
    assert list(tmp_path.glob("*/wandb/offline-run-*/*.wandb"))
