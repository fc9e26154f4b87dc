"""What a run says of itself: what will happen, why it is no paper result, and what came of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from data_provider.batches.joint_loader import JointLoader
from data_provider.batches.loader import Loader
from data_provider.datasets import is_published
from data_provider.series import SeriesInfo
from exp.exp_basic import Settings
from exp.training.runtime import Runtime
from models.base import Forecaster
from utils.run_folder import RunFolder
from utils.terminal import duration


def labels_of_run(
    settings: Settings, model: Forecaster, *, data: Sequence[tuple[str, SeriesInfo]], code_changed: bool
) -> list[str]:
    """Reasons why the results are not comparable with those of papers.

    `data`: every data set in use, with the name that the flags have for it.
    """
    llm = model.fingerprint()
    description = f"LLM {llm.get('description')}"
    facts = {
        "demo data": any(series.is_demo for _, series in data),
        # A named LLM with random weights is a control of the paper; tables show its flag instead of this label.
        "random LLM": bool(llm.get("random")) and (llm.get("name") == "random" or not model.random_llm_is_a_control),
        # The published runs read GPT-2.
        description: "description" in llm,
        "fast_dev_run": settings.train.fast_dev_run,
        "not the published file": not all(is_published(name, series.fingerprint) for name, series in data),
        "code changed during training": code_changed,
    }
    return [label for label, holds in facts.items() if holds]


def opening_lines(
    settings: Settings,
    model: Forecaster,
    series: SeriesInfo,
    *,
    loader: Loader | JointLoader,
    runtime: Runtime,
    labels: Sequence[str],
) -> list[str]:
    """Data, steps, model, LLM and its source, device and precision. `loader`: that of the training rows."""
    train, data, counts = settings.train, settings.data, model.count_parameters()
    llm = model.fingerprint()
    weights = "random weights" if llm.get("random") else "pretrained weights"
    machine = runtime.describe()
    kinds = "single channels" if loader.windows.channel_independent else "windows of all channels"
    rows = f"{len(loader.windows):,} training rows ({kinds}), {len(loader):,} steps an epoch"
    lines = [
        f"data    {series.name}, {len(series.columns)} channels, look-back {data.seq_len}, horizon "
        f"{data.pred_len}; {rows}, at most {train.train_epochs} epochs",
        f"model   {settings.model_name}, {counts['total']:,} parameters, {counts['trainable']:,} trained",
        *([f"LLM     {llm['name']}, {weights}"] if "name" in llm else []),
        f"runs on {machine['device_name']}, {machine['precision']}"
        + (f", {machine['num_processes']} processes" if machine["num_processes"] > 1 else ""),
    ]
    return [*lines, *([_not_a_paper_result(labels)] if labels else [])]


def closing_lines(metrics: dict[str, Any], *, code: Iterable[str], folder: RunFolder) -> str:
    """Summary of a run and its files. `code`: lines about the code that it ran."""
    trained = duration(metrics["seconds"]["training"])
    lines = [
        *([_not_a_paper_result(metrics["labels"])] if metrics["labels"] else []),
        f"trained {metrics['epochs']} epochs in {trained} ({metrics['rows_per_second']:.0f} rows/s), best epoch "
        f"{metrics['validation']['best_epoch']}",
        *code,
        f"run folder  {folder.path}",
        f"plots       {folder.plots}",
    ]
    return "\n".join(f"  {line}" for line in lines)


def _not_a_paper_result(labels: Sequence[str]) -> str:
    return f"not a paper result: {', '.join(labels)}"
