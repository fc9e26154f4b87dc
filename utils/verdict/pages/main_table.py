"""The README's main table: every model of the library on four data sets, from the committed runs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import pandas as pd

from utils.report.table import markdown
from utils.verdict.collection import Collected, Frame
from utils.verdict.plan import CELLS, NAIVE, NONE, PRETRAINED, SEEDS, WHOLE, data_of, second_rate, setting_of

ROOT = Path(__file__).parent.parent.parent.parent
BASELINES = ROOT / "docs" / "baselines"
# CSVs of runs that were trained to the end.
BASELINE_FILES = ("results.csv", "timesnet_unitime.csv")
PUBLISHED = ROOT / "utils" / "report" / "published" / "accuracy.csv"
# Models of the library in the order of the table, and their names in published tables.
NAMES = {
    "BALM": "BALM", "BALM, no text": "", "CALF": "CALF", "GPT4TS": "GPT4TS", "TimeLLM": "Time-LLM",
    "TimeCMA": "TimeCMA", "UniTime": "UniTime", "TimesNet": "TimesNet", "iTransformer": "iTransformer",
    "PatchTST": "PatchTST", "PAttn": "PAttn", "NLinear": "NLinear", "DLinear": "DLinear",
    "SeasonalNaive": "SeasonalNaive", "LastValue": "LastValue",
}  # fmt: skip
DATA = ("ETTh1", "ETTh2", "Exchange")
NOT_RUN, NONE_PUBLISHED = "not run", "-"
# Arms of the models that have several in the runs of the verdict.
OF_BALM = {"BALM": PRETRAINED, "BALM, no text": NONE}
OTHER_ARMS = {"CALF": f"CALF {PRETRAINED}", "GPT4TS": f"GPT4TS {PRETRAINED}"}
# The look-back of CALF's own experiments.
OWN_LOOK_BACK = {"CALF": {"ETTh1": 96, "ETTh2": 96, "Exchange": 96, "ILI": 36}}


def main_table(collected: Collected) -> str:
    """In Markdown: mean test MSE with its number of seeds, for few-shot and all rows, and the published one."""
    header = ["model"]
    for data in DATA:
        header += [f"{data}, 10 %", f"{data}, all", "published"]
    rows = [[label_of(collected, model), *_cells(collected, model)] for model in NAMES]
    return markdown([*header, "ILI, all"], rows)


def label_of(collected: Collected, model: str) -> str:
    """The model's name, and the pretrained language model that its runs name in their label."""
    arm = _arm(model)
    labels = collected.rows.loc[collected.rows["arm"] == arm, "labels"] if len(collected.rows) else []
    llms = [str(label).removeprefix("LLM ").split(",")[0] for label in labels if str(label).startswith("LLM ")]
    name = f"{model}, {llms[0]}" if llms else model
    if model not in OWN_LOOK_BACK:
        return name
    return f"{name} (look-back {OWN_LOOK_BACK[model]['ETTh1']}, ILI {OWN_LOOK_BACK[model]['ILI']})"


def _cells(collected: Collected, model: str) -> list[str]:
    texts = []
    for data in DATA:
        cell = next(cell for cell in CELLS if data_of(cell) == data)
        texts += [
            _mean(model, _ours(collected, model, cell)) + _at_second_rate(collected, model, cell),
            _mean(model, _ours(collected, model, cell.replace("_10pct", "")) or _baselines(model, data)),
            _published(model, data),
        ]
    ili = next(cell for cell in CELLS if data_of(cell) == "ILI")
    return [*texts, _mean(model, _ours(collected, model, ili)) + _at_second_rate(collected, model, ili)]


def _arm(model: str) -> str:
    """Its arm in the runs of the verdict."""
    return {**OF_BALM, **OTHER_ARMS}.get(model, model)


def _ours(collected: Collected, model: str, cell: str) -> list[float]:
    """The test MSE of each seed in the cell, or in another one of its setting for a model with a rate of its own."""
    rows, setting = collected.rows, setting_of(cell)
    look_back = OWN_LOOK_BACK.get(model, {}).get(data_of(cell))
    if look_back is not None:
        start, _, horizon = setting.rpartition("_")
        setting = f"{start.rpartition('_')[0]}_{look_back}_{horizon}"
    chosen = (rows["arm"] == _arm(model)) & (rows["cell"].map(setting_of) == setting)
    if model in OF_BALM:  # at its second learning rate it is another experiment
        chosen &= rows["cell"].isin([*CELLS, WHOLE])
    return rows.loc[chosen, "mse"].astype(float).tolist() if len(rows) else []


def _at_second_rate(collected: Collected, model: str, cell: str) -> str:
    """What BALM has there at a tenth of the learning rate, once all seeds have run."""
    if model not in OF_BALM:
        return ""
    runs = collected.of(second_rate(cell), [_arm(model)])
    return f"; {runs['mse'].mean():.3f} at rate / 10" if len(runs) == len(SEEDS) else ""


def _mean(model: str, errors: Sequence[float]) -> str:
    if not errors:
        return NOT_RUN
    seeds = "" if model in NAIVE else f" ({len(errors)})"
    return f"{sum(errors) / len(errors):.3f}{seeds}"


def _baselines(model: str, data: str) -> list[float]:
    """The test MSE of each seed with all rows, look-back 512, horizon 96."""
    wanted = {"model": model, "name": model, "data": data, "seq_len": 512, "percent": 100, "pred_len": 96}
    return [mse for file in BASELINE_FILES for mse in _matching(_table(BASELINES / file), wanted)["mse"]]


def _published(model: str, data: str) -> str:
    look_back = str(OWN_LOOK_BACK.get(model, {}).get(data, 512))
    wanted = {"model": NAMES[model], "dataset": data, "seq_len": look_back, "percent": 100, "pred_len": "96"}
    found = _matching(_table(PUBLISHED), wanted)["mse"].tolist()
    return f"{float(found[0]):.3f}" if found else NONE_PUBLISHED


def _matching(table: Frame, wanted: dict[str, object]) -> Frame:
    for column, value in wanted.items():
        table = table[table[column].astype(str) == str(value)]
    return table


@cache
def _table(file: Path) -> Frame:
    return pd.read_csv(file, keep_default_na=False)
