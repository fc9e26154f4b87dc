"""`python -m tests.parity MODEL FILE.npz`: our model in compat mode beside the published numbers of a golden file."""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch

from exp.training.runtime import chosen_device, set_tf32
from tests.parity.comparison import Comparison, Golden, compare
from tests.pretend_device.registration import NAME as PRETENDED

MODULES = {
    "balm": "tests.parity.balm",
    "calf": "tests.parity.calf",
    "timellm": "tests.parity.time_llm",
    "timecma": "tests.parity.time_cma",
    "timesnet": "tests.parity.timesnet",
    "unitime": "tests.parity.unitime",
}


def read_golden(path: str | Path) -> Golden:
    """Every array of the file by name."""
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path} is missing: name a golden file, for example ../shared/golden/balm_small_a.npz")
    with np.load(path, allow_pickle=False) as file:
        return dict(file)


def comparisons(model: str, golden: Golden, *, device: str = "cpu") -> list[Comparison]:
    """Everything that our `model` computes of the golden file on `device`, compared."""
    place, from_numpy = torch.device(device), torch.from_numpy
    set_tf32(False)
    # Models are built, and all else is made, on the device too.
    with place, patch.object(torch, "from_numpy", lambda array: from_numpy(array).to(place)):
        quantities = importlib.import_module(MODULES[model]).quantities(golden)
        return [comparison for quantity in quantities for comparison in compare(quantity)]


def main(arguments: list[str] | None = None) -> int:
    """Prints each difference beside its tolerance; returns 0 when all hold, 1 when one does not, 2 for a wrong file."""
    parser = argparse.ArgumentParser(prog="python -m tests.parity", description=__doc__)
    parser.add_argument("model", choices=sorted(MODULES))
    parser.add_argument("file", help="a golden file (.npz)")
    parser.add_argument(
        "--device", default="cpu", choices=("cpu", "cuda", PRETENDED), help="where our model computes (default: cpu), "
        f"TF32 off; {PRETENDED}: as on a GPU, but with the CPU's arithmetic (tests.pretend_device)"
    )  # fmt: skip
    flags = parser.parse_args(arguments)
    try:
        results = _compared(flags.model, read_golden(flags.file), device=flags.device)
    except (FileNotFoundError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyError as error:
        print(f"error: {flags.file} is not a golden file of {flags.model}: it lacks {error}", file=sys.stderr)
        return 2
    print(f"{'quantity':<72} {'measure':<18} {'difference':>9} {'tolerance':>9}")
    for result in results:
        print(result)
    exceeded = [result.name for result in results if not result.holds]
    print(f"{len(results) - len(exceeded)} of {len(results)} comparisons within tolerance")
    return 1 if exceeded else 0


def _compared(model: str, golden: Golden, *, device: str) -> list[Comparison]:
    """As `comparisons`, on the pretended device too."""
    if device != PRETENDED:
        return comparisons(model, golden, device=chosen_device(device))
    from tests.pretend_device.device import PretendedDevice

    with PretendedDevice():
        return comparisons(model, golden, device=PRETENDED)


if __name__ == "__main__":
    sys.exit(main())
