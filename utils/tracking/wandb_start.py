"""How a wandb run is started: decided within seconds, since a training must not wait for its tracker."""

from __future__ import annotations

import logging
import os
import threading
from typing import Any

logger = logging.getLogger(__name__)
MODES = ("online", "offline", "shared", "disabled", "dryrun", "run")
WITHOUT_SERVER = ("offline", "disabled", "dryrun")
SECONDS_TO_ANSWER = 4.0
SECONDS_TO_START = 10.0


def wandb_mode() -> str:
    """WANDB_MODE, or "online"; "offline", with a line that says why, if the run could not be sent to a server."""
    import wandb

    chosen = os.environ.get("WANDB_MODE", "online")
    if chosen not in MODES:
        # wandb refuses to do anything while the variable has a wrong value.
        os.environ["WANDB_MODE"] = "offline"
        return _offline(f"WANDB_MODE={chosen} is none of {', '.join(MODES)}")
    if chosen in WITHOUT_SERVER:
        return chosen
    try:
        url = wandb.setup().settings.base_url
        # Logging in asks the server too, without a time limit.
        if not answers(url, SECONDS_TO_ANSWER):
            return _offline(f"{url} does not answer within {SECONDS_TO_ANSWER:g} s")
        if not wandb.login(prompt=False, verify=False):
            return _offline("no wandb account on this machine (see `wandb login`)")
    except (wandb.Error, ValueError) as error:
        os.environ.pop("WANDB_API_KEY", None)
        return _offline(f"the wandb account cannot be used ({first_line(error)})")
    return chosen


def answers(url: str, seconds: float) -> bool:
    """Whether a server answers, with whatever; through a proxy if the environment names one."""
    import requests

    found: list[int] = []

    def ask() -> None:
        try:
            found.append(requests.head(url, timeout=seconds).status_code)
        except (requests.RequestException, OSError, ValueError):
            return

    # A look-up of a name has no time limit of its own.
    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(seconds)
    return bool(found)


def start_options(mode: str) -> dict[str, Any]:
    """Options of `wandb.init` for a mode."""
    import wandb

    return {"mode": mode, "settings": wandb.Settings(init_timeout=SECONDS_TO_START)}


def first_line(error: BaseException) -> str:
    """The first line of an error's text that says something; pydantic's first line only counts errors."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-2] if len(lines) > 2 and "validation error" in lines[0] else (lines or [type(error).__name__])[0]


def _offline(reason: str) -> str:
    logger.warning("%s: the run is recorded offline", reason)
    return "offline"
