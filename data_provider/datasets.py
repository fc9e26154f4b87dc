"""Registry of the data sets: file, shape, time step, split and download sources."""

from __future__ import annotations

import difflib
import hashlib
from dataclasses import dataclass
from pathlib import Path

HUB_REPOSITORY = "thuml/Time-Series-Library"
_ETT_RAW = "https://raw.githubusercontent.com/zhouhaoyi/ETDataset/main/"
_ETT_COLUMNS = ("HUFL", "HULL", "MUFL", "MULL", "LUFL", "LULL", "OT")
_ETT_ORIGIN = "ETDataset (zhouhaoyi/ETDataset)"
_ETT_LICENCE = "CC BY-ND 4.0"
# What every published script of Time-LLM says of every data set.
PUBLISHED_DESCRIPTION = (
    "The Electricity Transformer Temperature (ETT) is a crucial indicator in the electric power long-term deployment."
)
CUSTOM = "custom"
M4 = "M4"


@dataclass(frozen=True)
class Benchmark:
    """Registry entry of a data set.

    `borders` are the rows at which training, validation and test end; without them `fractions` are the shares of
    training and test, the rest being validation. `url` is the publisher's own file, besides the hub repository, which
    holds every benchmark. A file with the SHA-256 `sha256` is used unchecked; `remark` names oddities in it.
    `description` says in a prompt what the values are, `published_description` is the one that the published code of
    Time-LLM gives, `instruction` that of UniTime.
    """

    file: str
    num_rows: int
    num_channels: int
    time_step: str
    season_length: int
    origin: str
    licence: str
    borders: tuple[int, int, int] | None = None
    fractions: tuple[float, float] = (0.7, 0.2)
    columns: tuple[str, ...] | None = None
    url: str | None = None
    num_bytes: int | None = None
    sha256: str | None = None
    remark: str | None = None
    is_demo: bool = False
    description: str = ""
    published_description: str = PUBLISHED_DESCRIPTION
    instruction: str = ""


def _ett(name: str, *, steps_per_hour: int, num_bytes: int, sha256: str) -> Benchmark:
    month = 30 * 24 * steps_per_hour
    return Benchmark(
        file=f"ETT-small/{name}.csv",
        num_rows=17_420 * steps_per_hour,
        num_channels=7,
        time_step="h" if steps_per_hour == 1 else "15min",
        season_length=24 * steps_per_hour,
        origin=_ETT_ORIGIN,
        licence=_ETT_LICENCE,
        borders=(12 * month, 16 * month, 20 * month),
        columns=_ETT_COLUMNS,
        url=f"{_ETT_RAW}ETT-small/{name}.csv",
        num_bytes=num_bytes,
        sha256=sha256,
        description=f"Six loads and the oil temperature of a transformer of the electric grid in China, measured every "
        f"{'hour' if steps_per_hour == 1 else '15 minutes'}.",
        instruction=f"electricity transformer {'A' if name.endswith('1') else 'B'} data with "
        f"{'one hour' if steps_per_hour == 1 else 'fifteen minute'} sample rate.",
    )


DATASETS: dict[str, Benchmark] = {
    "ETTh1": _ett(
        "ETTh1",
        steps_per_hour=1,
        num_bytes=2_589_657,
        sha256="f18de3ad269cef59bb07b5438d79bb3042d3be49bdeecf01c1cd6d29695ee066",
    ),
    "ETTh2": _ett(
        "ETTh2",
        steps_per_hour=1,
        num_bytes=2_417_960,
        sha256="a3dc2c597b9218c7ce1cd55eb77b283fd459a1d09d753063f944967dd6b9218b",
    ),
    "ETTm1": _ett(
        "ETTm1",
        steps_per_hour=4,
        num_bytes=10_360_719,
        sha256="6ce1759b1a18e3328421d5d75fadcb316c449fcd7cec32820c8dafda71986c9e",
    ),
    "ETTm2": _ett(
        "ETTm2",
        steps_per_hour=4,
        num_bytes=9_677_236,
        sha256="db973ca252c6410a30d0469b13d696cf919648d0f3fd588c60f03fdbdbadd1fd",
    ),
    "Weather": Benchmark(
        file="weather/weather.csv",
        num_rows=52_696,
        num_channels=21,
        time_step="10min",
        season_length=144,
        origin="Max Planck Institute for Biogeochemistry, Jena; benchmark file of Autoformer",
        licence="see https://www.bgc-jena.mpg.de/wetter/",
        num_bytes=7_235_425,
        sha256="34ee981d07313e51da2a50bb600072c8ae4a69cb4b0651f4cb93a069d7a2ba63",
        description="Air temperature, pressure, humidity, wind, rain and radiation at a weather station in Germany, "
        "measured every 10 minutes.",
        remark="81 cells hold -9999 (a sensor's missing code), one time stamp is there twice and 1 h 40 are missing",
        instruction="meteorological indicator data with ten minute sample rate.",
    ),
    "ECL": Benchmark(
        file="electricity/electricity.csv",
        num_rows=26_304,
        num_channels=321,
        time_step="h",
        season_length=24,
        origin="UCI ElectricityLoadDiagrams20112014; benchmark file of Autoformer",
        licence="CC BY 4.0",
        description="Electricity consumption of 321 clients in Portugal, in kilowatts, every hour.",
        instruction="power consumption data with hourly sample rate.",
    ),
    "Traffic": Benchmark(
        file="traffic/traffic.csv",
        num_rows=17_544,
        num_channels=862,
        time_step="h",
        season_length=24,
        origin="Caltrans PeMS; benchmark file of Autoformer",
        licence="see https://pems.dot.ca.gov",
        description="Occupancy of the lanes at 862 sensors on freeways around San Francisco, every hour.",
    ),
    "Exchange": Benchmark(
        file="exchange_rate/exchange_rate.csv",
        num_rows=7_588,
        num_channels=8,
        time_step="D",
        season_length=7,
        origin="laiguokun/multivariate-time-series-data; benchmark file of Autoformer",
        licence="see https://github.com/laiguokun/multivariate-time-series-data",
        num_bytes=637_800,
        sha256="48b4d9d3d508f5104162e85b9a6042e3557fde11aa9f2944eba8c0d0efc89842",
        description="Exchange rates of eight currencies against the US dollar, every day.",
        instruction="exchange rate data with one day sample rate.",
    ),
    "ILI": Benchmark(
        file="illness/national_illness.csv",
        num_rows=966,
        num_channels=7,
        time_step="7D",
        season_length=52,
        origin="US CDC FluView; benchmark file of Autoformer",
        licence="public domain (US government)",
        num_bytes=67_620,
        sha256="93601f64d2566dc796ca4305adad8b8560c2db1a1ff04543c3bd813a7263570a",
        description="Patients with influenza-like illness in the United States, every week.",
        instruction="patient number data with one week sample rate.",
    ),
    "demo": Benchmark(
        file="demo/demo.csv",
        num_rows=2_880,
        num_channels=7,
        time_step="h",
        season_length=24,
        origin="made by data_provider/demo.py: synthetic, not a measurement of anything",
        licence="MIT",
        num_bytes=194_490,
        sha256="a04d5e11e8939f1c44ead51545b8e46f31deac612cf67230cd58363cbb0fbed1",
        is_demo=True,
        description="Synthetic loads with a daily and a weekly cycle, every hour.",
    ),
}


def is_published(name: str, fingerprint: str) -> bool:
    """Whether a file with this SHA-256 may be called `name`: a data set's own file; any for other names."""
    benchmark = DATASETS.get(name)
    return benchmark is None or benchmark.sha256 in (None, fingerprint)


def unknown_name_message(name: str) -> str:
    """Error message for an unknown data set, with the nearest names."""
    known = [*DATASETS, M4, CUSTOM]
    lower = {candidate.lower(): candidate for candidate in known}
    near = [lower[match] for match in difflib.get_close_matches(name.lower(), lower, n=3, cutoff=0.5)]
    nearest = f"the nearest are {', '.join(near)}; " if near else ""
    return f"--data {name} is not known: {nearest}all names: {', '.join(known)} (`custom` reads --data_path)"


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file as a hexadecimal string."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
