"""What is known of a forecast's error, in plain words: the errors that its run made on the test split."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from exp.predict.forecaster import FittedForecaster
from utils.report.text_table import aligned


def uncertainty_note(forecaster: FittedForecaster, *, level: float | None, remarks: Sequence[str]) -> str:
    """Per column the run's test errors in original units, the coverage of its intervals, and `remarks` on the input."""
    header, folder = forecaster.header, forecaster.folder
    lines = [f"forecast of {header['model']}, run {header['run_id']}"]
    if header["labels"]:
        lines.append(f"not a serious forecast: {', '.join(header['labels'])}")
    lines += remarks
    tests = folder.read_metrics()["tests"] if folder.is_finished else {}
    test: Any = tests.get(forecaster.series.name)
    if test is None or "per_channel" not in test:
        return "\n".join([*lines, f"its test errors are not known: {folder.metrics} holds none"])
    lines += [
        "",
        f"errors on {test['num_windows']} test windows of {forecaster.series.name}, over all "
        f"{forecaster.data.pred_len} steps, in the units of the column",
        _table(test["per_channel"], forecaster),
        "",
        "These are means over the past: single values can be further off, and the future may be of another kind.",
    ]
    covered = test.get("coverage", {}).get(f"{level:g}") if level is not None else None
    if covered is not None:
        lines.append(f"Intervals of level {level:g} held {100 * covered:.1f} % of the test values.")
    return "\n".join(lines)


def _table(errors: dict[str, Any], forecaster: FittedForecaster) -> str:
    scale = forecaster.scaler.scale[forecaster.target_channels]
    entries = zip(errors["columns"], errors["mae_original"], errors["mse_original"], scale, strict=True)
    rows = [[name, f"{mae:.4g}", f"{mse**0.5:.4g}", f"{deviation:.4g}"] for name, mae, mse, deviation in entries]
    return aligned(["column", "mean absolute", "root mean square", "(spread of the column)"], rows)
