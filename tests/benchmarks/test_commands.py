"""Every benchmark runs from the command line to its table, here with a very small LLM on the demo set."""

from __future__ import annotations

import importlib
import json

import pytest
import torch
from accelerate.state import AcceleratorState

from benchmarks import epoch, prompts, scaling, step, wide
from benchmarks.cases import CaseConfig, batches_of, build
from benchmarks.measuring.apart import run_apart
from benchmarks.tables import publish
from data_provider.demo import DEMO_PATH
from layers.text_encoder import TextEncoder
from models.balm import BALM

SMALL = [
    *("--llm_layers", "1", "--llm_width", "32", "--llm_heads", "2"),
    *("--seq_len", "96", "--pred_len", "24", "--batch_size", "8"),
]
DEMO = ["--root_path", str(DEMO_PATH.resolve().parents[1])]
SHORT_TRAINING = [*SMALL, *DEMO, "--train_epochs", "2", "--validation_batches", "2", "--percent", "2"]


@pytest.fixture(autouse=True)
def fresh_accelerate():
    """Each training has its own precision, as each process would."""
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.fixture
def here(monkeypatch):
    """Ways that would get a process of their own run in this one; the rate of matrix products is not measured."""

    def run_here(module, arguments, way):
        AcceleratorState._reset_state(reset_partial_state=True)
        found: list[str] = []
        benchmark = importlib.import_module(module)
        monkeypatch.setattr(benchmark, "print", found.append, raising=False)
        benchmark.main([*arguments, "--only", way])
        monkeypatch.delattr(benchmark, "print")
        return json.loads(found[-1])

    for module in (epoch, step, wide):
        monkeypatch.setattr(module, "run_apart", run_here)
    for module in (epoch, step):
        monkeypatch.setattr(module, "matmul_rate", lambda *_: 1e11)


def table_of(page: str, first_cell: str) -> list[list[str]]:
    """The lines, without header and rule, of the table whose header begins with `first_cell`."""
    lines = page[page.index(f"| {first_cell} |") :].split("\n\n")[0].strip().splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("model", ["BALM", "CALF", "TimesNet", "UniTime", "TimeLLM", "TimeCMA"])
def test_step_prints_every_way_beside_the_plain_one(model, capsys, tmp_path):
    output = tmp_path / "tables" / "step.md"
    more = ["--model", model, "--rounds", "1", "--warmup", "0", "--output", str(output), "--trained_steps", "1"]
    assert step.main([*SMALL, *DEMO, *more]) == 0
    page = capsys.readouterr().out
    assert page.startswith(output.read_text())
    training = table_of(page, "training step")
    assert [row[0] for row in training] == [step.MEANING[way] for way in step.TRAINING[model]]
    assert training[0][3] == "1.00x"
    assert [row[0] for row in table_of(page, "inference batch")] == [step.MEANING[way] for way in step.INFERENCE[model]]
    assert float(table_of(page[page.rindex("| training step") :], "training step")[0][1]) > 0.1


@pytest.mark.usefixtures("here")
def test_epoch_prints_time_and_error_of_every_way(capsys):
    assert epoch.main(SHORT_TRAINING) == 0
    rows = table_of(capsys.readouterr().out, "training")
    assert [row[0] for row in rows] == list(epoch.BALM_WAYS.values())
    errors = [float(row[-2]) for row in rows]
    assert max(errors) < 1.3 * min(errors)


def test_the_exact_way_learns_what_the_plain_one_learns(monkeypatch):
    """Published switches and no dropout in the LLM on both sides: after two epochs the errors agree."""
    config = epoch.EpochConfig(
        llm_layers=1, llm_width=32, llm_heads=2, seq_len=96, pred_len=24, batch_size=8,
        root_path=DEMO[1], percent=2, train_epochs=2, validation_batches=2,
    )  # fmt: skip
    plain = epoch.train_here(config, "plain_without_dropout")
    AcceleratorState._reset_state(reset_partial_state=True)

    def ours(config, _way):
        model = build(config, "plain_without_dropout")
        assert isinstance(model, BALM) and isinstance(model.text_encoder, TextEncoder)
        model.text_encoder.__class__ = TextEncoder
        return model

    monkeypatch.setattr(epoch, "build", ours)
    assert epoch.train_here(config, "fp32")["mse"] == pytest.approx(plain["mse"], rel=1e-4)


def test_scaling_prints_three_tables(capsys):
    sizes = ["--steps", "1", "2", "--channels", "2", "4", "--horizons", "24", "48", "--rounds", "1"]
    assert scaling.main([*SMALL, *DEMO, *sizes]) == 0
    page = capsys.readouterr().out
    assert [row[0] for row in table_of(page, "training rows of an epoch")] == ["8", "16"]
    assert [row[0] for row in table_of(page, "channels")] == ["2", "4"]
    assert [row[0] for row in table_of(page, "horizon")] == ["24", "48"]


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("model", ["BALM", "CALF"])
def test_wide_prints_the_memory_of_every_shape(model, capsys):
    more = ["--model", model, "--shapes", "700x3", "700x9", "--batch_sizes", "8", "2", "--training_steps", "2"]
    assert wide.main([*SMALL, *more, "--evaluation_steps", "1"]) == 0
    rows = table_of(capsys.readouterr().out, "rows x channels")
    assert [row[:2] for row in rows] == [["700 x 3", "8"], ["700 x 9", "2"]]
    assert all(float(row[4]) > 0.1 for row in rows)


def test_prompts_are_counted_by_their_decimals(capsys):
    """All prompts of the demo set differ at full precision; one decimal leaves few, and fewer tokens."""
    assert prompts.main([*DEMO, "--seq_len", "512", "--pred_len", "96", "--digits", "1"]) == 0
    page = capsys.readouterr().out
    rounded, full = table_of(page, "decimals")
    num_rows = int(page.split("all ")[1].split(" ")[0].replace(",", ""))
    assert num_rows == (int(2880 * 0.7) - 512 - 96 + 1) * 7
    counts = [int(row[1].replace(",", "")) for row in (rounded, full)]
    assert counts[0] < counts[1] <= num_rows
    assert float(rounded[3]) < float(full[3]) - 10


def test_wide_refuses_what_is_no_shape():
    with pytest.raises(ValueError, match="ROWSxCHANNELS such as"):
        wide.WideConfig(shapes=["17544"])
    with pytest.raises(ValueError, match="one number for each of the 2"):
        wide.WideConfig(shapes=["700x3", "700x9"], batch_sizes=[4])


def test_a_way_runs_in_a_process_of_its_own():
    found = run_apart("benchmarks.step", [*SMALL, *DEMO], "fp32")
    assert found["peak"] >= found["before"] > 0.1
    with pytest.raises(RuntimeError, match="ended with"):
        run_apart("benchmarks.step", ["--no_such_flag"], "fp32")


def test_a_published_command_names_no_folder_of_this_machine(monkeypatch, capsys):
    words = [
        "step.py",
        "--root_path",
        "/private/data",
        "--pred_len",
        "96",
        "--output",
        "/private/out.md",
        "--rounds",
        "3",
    ]
    monkeypatch.setattr("sys.argv", words)
    publish("title", "a machine", [], [], "")
    assert "`python -m benchmarks.step --root_path FOLDER --pred_len 96 --rounds 3`" in capsys.readouterr().out


def test_every_way_of_timesnet_with_the_periods_of_the_batch_makes_the_same_forecast():
    config = CaseConfig(model="TimesNet", d_model=4, d_ff=6, seq_len=48, pred_len=24, root_path=DEMO[1])
    batch = batches_of(config, build(config, "plain"))[0]
    forecasts = [
        build(config, way).eval()(batch.look_back, **batch.inputs).values
        for way in ("plain", "merged", "cropped", "batch_periods")
    ]
    for forecast in forecasts[1:]:
        torch.testing.assert_close(forecast, forecasts[0], atol=1e-5, rtol=1e-5)


def test_the_plain_unitime_and_ours_without_pads_to_read_make_the_same_forecast():
    config = CaseConfig(
        model="UniTime", llm_layers=1, llm_width=32, llm_heads=2, seq_len=48, pred_len=24, root_path=DEMO[1]
    )
    plain, ours = (build(config, way).eval() for way in ("plain", "fp32"))
    ours.load_state_dict(
        {name: value for name, value in plain.state_dict().items() if name not in ("reader.words", "pad_token")},
        strict=False,
    )
    (batch,) = batches_of(config, ours)[:1]
    torch.testing.assert_close(ours(batch.look_back).values, plain(batch.look_back).values, atol=1e-4, rtol=1e-4)


def test_plain_and_ours_read_the_same_rows():
    config = CaseConfig(llm_layers=1, llm_width=32, llm_heads=2, seq_len=96, pred_len=24, root_path=DEMO[1])
    first, second = (batches_of(config, build(config, way)) for way in ("plain", "fp32"))
    assert all(torch.equal(a.rows, b.rows) for a, b in zip(first, second, strict=True))
