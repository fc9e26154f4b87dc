"""Train and test a forecaster, or forecast with it: `python run.py --model BALM --data ETTh1 [--help]`."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence

from exp.command_line import WrongInput, run_command
from exp.training.loop import Interrupted
from exp.training.processes import StoppedElsewhere, close_processes, is_rank_zero, lost_process

WRONG_INPUT, FAILED, INTERRUPTED = 2, 1, 130
ON_INTERRUPT = "interrupted: the same command goes on from the last state that was saved"


def main(arguments: Sequence[str]) -> int:
    """Run the command and return the exit code."""
    level = logging.INFO if is_rank_zero() else logging.WARNING
    logging.basicConfig(level=level, format="%(message)s", stream=sys.stderr)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    try:
        for text in run_command(arguments):
            print(f"\n{text}\n", flush=True)
    except WrongInput as error:
        return failure(str(error), WRONG_INPUT)
    except (FloatingPointError, OSError, StoppedElsewhere) as error:
        return failure(str(error), FAILED)
    except (Interrupted, KeyboardInterrupt) as error:
        if is_rank_zero():
            print(str(error) or ON_INTERRUPT, file=sys.stderr)
        return INTERRUPTED
    except RuntimeError as error:
        reason = lost_process(error)
        if reason is None:
            raise
        return failure(reason, FAILED)
    close_processes()
    return 0


def failure(reason: str, code: int) -> int:
    """Print the error, unless another rank reports it (empty `reason`), and return `code`."""
    if reason:
        print(f"error: {reason}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
