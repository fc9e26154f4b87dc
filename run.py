"""Train and test a forecaster, or forecast with it: `python run.py --model BALM --data ETTh1 [--help]`."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence

from utils.flags.help import help_text, wants_help
from utils.signals import (
    INTERRUPTED,
    ON_INTERRUPT,
    StopRequest,
    end_at_once_on_signals,
    exit_with,
    raise_if_requested,
    stop_with_parent,
)

WRONG_INPUT, FAILED = 2, 1


def main(arguments: Sequence[str]) -> int:
    """Run the command and return the exit code."""
    if wants_help(arguments):
        # A model that is not ours has to be imported to be explained.
        from utils.terminal import print_to_the_end

        with contextlib.suppress(LookupError):
            print_to_the_end(help_text(arguments))
            sys.exit(0)
    with StopRequest(at_once=True):
        try:
            code = _run(arguments)
            if code != INTERRUPTED:
                raise_if_requested()
            return code
        except KeyboardInterrupt:
            return interrupted(ON_INTERRUPT)


def _run(arguments: Sequence[str]) -> int:
    # Imported here, so that a signal during the seconds that this takes is obeyed too.
    import logging

    from exp.command_line import WrongInput, run_command
    from exp.training.loop import Interrupted
    from exp.training.memory import out_of_memory
    from exp.training.processes import StoppedElsewhere, close_processes, is_rank_zero, lost_process
    from utils.terminal import log_to_stderr, print_to_the_end, printable

    log_to_stderr(logging.INFO if is_rank_zero() else logging.WARNING)
    try:
        for text in run_command(arguments):
            print_to_the_end(f"\n{printable(text)}\n")
    except WrongInput as error:
        # Every process refuses alike: connections that the end of the interpreter cuts may end another one by a signal.
        close_processes()
        return failure(str(error), WRONG_INPUT)
    except (FloatingPointError, OSError, StoppedElsewhere) as error:
        return failure(str(error), FAILED)
    except Interrupted as error:
        return interrupted(str(error))
    except (RuntimeError, MemoryError) as error:
        reason = lost_process(error) or out_of_memory(error)
        if reason is None:
            raise
        return failure(reason, FAILED)
    close_processes()
    return 0


def failure(reason: str, code: int) -> int:
    """Print the error in one line, unless another rank reports it (empty `reason`), and return `code`."""
    from utils.terminal import one_line

    if reason:
        print(f"error: {one_line(reason)}", file=sys.stderr)
    return code


def interrupted(reason: str) -> int:
    """Print, on rank 0, how to go on, and return the exit code."""
    from exp.training.processes import is_rank_zero
    from utils.terminal import one_line

    if is_rank_zero():
        print(one_line(reason), file=sys.stderr)
    return INTERRUPTED


def command(arguments: Sequence[str]) -> int:
    """`main` as a process of its own."""
    end_at_once_on_signals()
    stop_with_parent()
    if not wants_help(arguments):
        # Import before the handlers change, so that a signal meanwhile ends the process in one line.
        from exp import command_line  # noqa: F401
        from exp.training import loop  # noqa: F401
    return main(arguments)


if __name__ == "__main__":
    exit_with(command(sys.argv[1:]))
