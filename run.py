"""Train and judge a forecaster, or forecast with it: `python run.py --model BALM --data ETTh1 [--help]`."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence

from exp.seeds import WrongInput, run_command
from exp.training_loop import Interrupted

WRONG_INPUT, FAILED, INTERRUPTED = 2, 1, 130


def main(arguments: Sequence[str]) -> int:
    """Runs what the flags say and returns the exit code."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    try:
        for text in run_command(arguments):
            print(f"\n{text}\n", flush=True)
    except WrongInput as error:
        print(f"error: {error}", file=sys.stderr)
        return WRONG_INPUT
    except (FloatingPointError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return FAILED
    except (Interrupted, KeyboardInterrupt) as error:
        print(str(error) or "interrupted", file=sys.stderr)
        return INTERRUPTED
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
