"""Generate the demo data: a synthetic hourly data set like ETT, which measures nothing.

`python -m data_provider.demo` writes dataset/demo/demo.csv, always bit for bit the same. `--shape 17544x862 --output
FILE` writes a table of another shape in the same way, for tests of memory and speed.

The recipe (all random numbers from one seeded generator, all autoregressions of first order):

1. Two slow factors common to all channels ("weather"): autoregressions with time constants of 3 and 10 days.
2. Each load channel: level + daily cycle (first and second harmonic, own phase and amplitude) x working-day factor
   (Saturday 0.8, Sunday 0.7, smoothed at midnight) + its share of the slow factors + linear drift + autoregressive
   noise (3 hours) + white noise.
3. Each channel but the first also carries 0.3 of the channel before it, 2 hours late (cross-channel lag).
4. The last channel, OT, is a temperature: the mean of the loads and the first slow factor, smoothed exponentially with
   a time constant of 5 hours (so it lags behind them), + noise.
5. Each channel gets its own offset and scale and is rounded to 3 decimals.
"""

from __future__ import annotations

from utils.signals import end_at_once_on_signals, exit_with, run_tool

if __name__ == "__main__":
    # Before what takes long to import.
    end_at_once_on_signals()

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float
from numpy import ndarray
from scipy.signal import lfilter

DEMO_COLUMNS = ["MILL", "OFFICES", "HOMES", "PUMPS", "COOLING", "AMBIENT", "OT"]
DEMO_ROWS = 2_880
DEMO_SEED = 7
DEMO_PATH = Path("dataset/demo/demo.csv")
_LAG_HOURS = 2


def demo_table() -> pd.DataFrame:
    """The demo set: 120 days of hours, a `date` column and 7 channels, the last of them OT."""
    return synthetic_table(DEMO_ROWS, columns=DEMO_COLUMNS, seed=DEMO_SEED)


def synthetic_table(num_rows: int, *, columns: list[str], seed: int, start: str = "2024-01-01") -> pd.DataFrame:
    """A synthetic hourly table by the recipe above; its last column is the temperature."""
    values = _synthetic_values(num_rows, num_channels=len(columns), random=np.random.default_rng(seed), start=start)
    table = pd.DataFrame(values.round(3), columns=columns)
    table.insert(0, "date", pd.date_range(start, periods=num_rows, freq="h"))
    return table


def write_csv(table: pd.DataFrame, path: Path) -> None:
    """Write the table as CSV: dates first, then the channels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(path, index=False, date_format="%Y-%m-%d %H:%M:%S", lineterminator="\n")


def _synthetic_values(
    num_rows: int, *, num_channels: int, random: np.random.Generator, start: str
) -> Float[ndarray, "time channel"]:
    hours = np.arange(num_rows, dtype=np.float64)
    slow = np.stack([_autoregression(random, num_rows, 1, hours=24 * days)[:, 0] for days in (3, 10)], axis=1)
    num_loads = max(1, num_channels - 1)
    loads = _daily_cycles(hours, num_loads, random) * _working_day_factor(hours, start)[:, None]
    loads += slow @ random.normal(0.0, 0.35, (2, num_loads))
    loads += np.linspace(0.0, 1.0, num_rows)[:, None] * random.normal(0.0, 0.5, num_loads)
    loads += 0.35 * _autoregression(random, num_rows, num_loads, hours=3)
    loads += 0.3 * random.standard_normal((num_rows, num_loads))
    late = np.roll(loads, _LAG_HOURS, axis=0)
    late[:_LAG_HOURS] = loads[:_LAG_HOURS]
    loads[:, 1:] += 0.3 * late[:, :-1]
    if num_channels == 1:
        return 10 + 3 * loads
    heat = 1.5 * loads.mean(axis=1) + 0.5 * slow[:, 0]
    temperature = _smooth(heat[:, None], hours=5) + 0.3 * _autoregression(random, num_rows, 1, hours=3)
    values = np.concatenate([loads, temperature + 0.15 * random.standard_normal((num_rows, 1))], axis=1)
    return random.uniform(5, 30, num_channels) + random.uniform(1, 8, num_channels) * values


def _daily_cycles(hours: ndarray, num_channels: int, random: np.random.Generator) -> Float[ndarray, "time channel"]:
    angle = 2 * np.pi * hours[:, None] / 24 - random.uniform(0.6, 1.2, num_channels) * np.pi
    second = random.uniform(0.2, 0.6, num_channels) * np.cos(2 * angle + random.uniform(-1, 1, num_channels))
    return random.uniform(0.8, 1.2, num_channels) * (np.cos(angle) + second)


def _working_day_factor(hours: ndarray, start: str) -> Float[ndarray, "time"]:
    day_of_week = (pd.Timestamp(start).weekday() + hours // 24).astype(int) % 7
    factor = np.array([1.0, 1.0, 1.0, 1.0, 1.0, 0.8, 0.7])[day_of_week]
    return _smooth(factor[:, None], hours=2)[:, 0]


def _autoregression(
    random: np.random.Generator, num_rows: int, num_channels: int, *, hours: float
) -> Float[ndarray, "time channel"]:
    """First-order autoregressions of variance 1 with a time constant of `hours`."""
    memory = np.exp(-1 / hours)
    shocks = np.sqrt(1 - memory**2) * random.standard_normal((num_rows, num_channels))
    shocks[0] /= np.sqrt(1 - memory**2)
    return np.asarray(lfilter([1.0], [1.0, -memory], shocks, axis=0))


def _smooth(values: ndarray, *, hours: float) -> Float[ndarray, "time channel"]:
    """Exponential smoothing with a time constant of `hours`, starting at the first value."""
    memory = np.exp(-1 / hours)
    return values[:1] + np.asarray(lfilter([1 - memory], [1.0, -memory], values - values[:1], axis=0))


def main() -> None:
    """Write the demo set, or a table of the shape in --shape."""
    parser = argparse.ArgumentParser(prog="python -m data_provider.demo", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--shape", metavar="ROWSxCHANNELS", help="write a table of this shape instead, e.g. 17544x862")
    parser.add_argument("--output", type=Path, help=f"CSV file to write (default for the demo set: {DEMO_PATH})")
    parser.add_argument("--seed", type=int, default=DEMO_SEED, help="seed for --shape")
    arguments = parser.parse_args()
    if arguments.shape is None:
        table, path = demo_table(), arguments.output or DEMO_PATH
    else:
        sizes = arguments.shape.lower().split("x")
        if len(sizes) != 2 or not all(size.isdigit() and int(size) > 0 for size in sizes):
            parser.error(f"--shape must be ROWSxCHANNELS such as 17544x862, got {arguments.shape}")
        if arguments.output is None:
            parser.error("--shape needs --output FILE: only the demo set has a default path")
        columns = [str(index) for index in range(int(sizes[1]) - 1)] + ["OT"]
        table, path = synthetic_table(int(sizes[0]), columns=columns, seed=arguments.seed), arguments.output
    write_csv(table, path)
    print(f"{path}: {len(table)} rows x {table.shape[1] - 1} channels, synthetic, {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    exit_with(run_tool(main))
