"""A model that says that it leaves no parameter out of a step gives each of them a gradient.

Several processes would hang or fail if one had none, and torch warns on every run if all are looked for in vain.
"""

from __future__ import annotations

import pytest
import torch

from exp.command_line import parse_command
from exp.exp_long_term_forecast import LongTermForecast
from tests.exp.runs import MODELS as KNOWN
from tests.exp.runs import TINY_LLM, flags

SMALL = ["--d_model", "8", "--n_heads", "2"]
TEXT_BRANCHES = (
    "llm", "random_llm", "none", "attention", "shuffled", "permuted", "constant", "words", "numbers", "mlp",
)  # fmt: skip
MODELS = {"DLinear": [], "NLinear": [], "PatchTST": SMALL, "iTransformer": SMALL, "PAttn": SMALL, "GPT4TS": TINY_LLM}
CALF = {f"CALF {name}": words for name, words in {
    "as published": [], "without text": ["--textual_branch", "none"], "without LoRA": ["--no_lora"],
    "fine-tuned": ["--full_fine_tuning"], "without match module": ["--no_match_module"],
}.items()}  # fmt: skip
WHOLE = ("TimeLLM", "TimeCMA", "TimesNet")
BALM = {f"BALM {branch}": ["--text_branch", branch] for branch in TEXT_BRANCHES}


@pytest.mark.parametrize(
    "model", [*MODELS, *WHOLE, *CALF, *BALM, "BALM no alignment", "BALM fixed text", "BALM frozen"]
)
def test_every_parameter_has_a_gradient_unless_the_model_says_otherwise(tmp_path, model):
    name, _, _ = model.partition(" ")
    more = {"BALM no alignment": ["--alignment_weight", "0"], "BALM fixed text": ["--no_learnable_prompt"]}
    more |= {"BALM frozen": ["--freeze_prompt_after", "1"]}
    command = flags(tmp_path, "--seq_len", "48", model=name if name in KNOWN else "DLinear")
    chosen = {**MODELS, **CALF, **BALM, **more}.get(model, [])
    built = LongTermForecast(parse_command(["--model", name, *command[2:], *chosen]))
    assert built.model.may_leave_parameters_out == (model == "BALM frozen")
    wrapped = built.runtime.wrap(built.model)
    handler = built.runtime.accelerator.ddp_handler
    assert handler is not None and handler.find_unused_parameters == (model == "BALM frozen")
    wrapped.train()
    batch = built.train.batch(built.train.windows.training_rows(seed=0, epoch=0)[:4])
    target = {"target": batch.target} if built.model.losses_read_target else {}
    forecast = built.model(batch.look_back, **batch.inputs, **target)
    torch.stack([forecast.values.mean(), *forecast.auxiliary_losses.values()]).sum().backward()
    assert [name for name, p in built.model.named_parameters() if p.requires_grad and p.grad is None] == []
