"""Run folders and checkpoints of format 1, brought to format 2 when they are read."""

from __future__ import annotations

from typing import Any

from utils.run_folder import FORMAT

# Format 1 recorded neither the order of a test's measures nor what each flag is for.
MEASURES = ("mse", "mae", "smape", "mase", "owa")
FLAG_ROLES = {
    **dict.fromkeys(("data", "data_path", "features", "seq_len", "pred_len", "percent"), "cell"),
    **dict.fromkeys(("seed", "model_id", "des", "fast_dev_run"), "label"),
    **dict.fromkeys(("is_training", "seeds", "itr", "device", "output_dir", "overwrite", "checkpoint_steps"), "place"),
    **dict.fromkeys(("row_memory_mb", "eval_batch_size", "root_path"), "place"),
    **dict.fromkeys(("deterministic", "compile"), "numerics"),
}


def upgrade_header(header: dict[str, Any]) -> dict[str, Any]:
    """A checkpoint's header with the names of the current format (format 1: `model_identity`)."""
    return {("backbone_fingerprint" if name == "model_identity" else name): value for name, value in header.items()}


def upgrade_metrics(metrics: dict[str, Any]) -> dict[str, Any]:
    """metrics.json in format 2 (format 1: `targets` for zero-shot and M4, else `test` with `naive` beside it)."""
    tests = metrics.get("targets")
    if tests is None and isinstance(metrics.get("test"), dict):
        tests = {str(metrics.get("data")): {**metrics["test"], "naive": metrics.get("naive") or {}}}
    for test in tests.values() if isinstance(tests, dict) else ():
        if isinstance(test, dict):
            test["measures"] = [name for name in MEASURES if name in test]
    kept = {name: value for name, value in metrics.items() if name not in ("test", "naive", "targets")}
    return {**kept, "format": FORMAT, **({} if tests is None else {"tests": tests})}


def upgrade_config(config: dict[str, Any]) -> dict[str, Any]:
    """config.json in format 2."""
    return {"flag_roles": FLAG_ROLES, **upgrade_header(config)}
