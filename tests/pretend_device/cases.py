"""The commands that are run on the pretended device, and how many launches a training step of each may take."""

from __future__ import annotations

from pathlib import Path

from data_provider.demo import DEMO_PATH

LLM = ("--llm_model", "random", "--llm_layers", "2", "--llm_width", "48", "--llm_heads", "4")
BALM = (*LLM, "--d_ff", "8", "--d_model", "8")
MODELS: dict[str, tuple[str, ...]] = {
    "BALM": BALM,
    "BALM, prompt frozen": (*BALM, "--freeze_prompt_after", "0"),
    "CALF": (*LLM, "--num_components", "8"),
    "TimeLLM": (*LLM, "--d_ff", "8", "--d_model", "8", "--n_heads", "2", "--num_prototypes", "10"),
    "TimeCMA": (*LLM, "--d_model", "8", "--n_heads", "2", "--feed_forward", "16", "--prompt_len", "8"),
    "GPT4TS": LLM,
    "UniTime": (*LLM, "--decoder_layers", "1"),
    "TimesNet": ("--d_model", "8", "--d_ff", "8", "--num_kernels", "2"),
    **dict.fromkeys(("DLinear", "NLinear", "PatchTST", "iTransformer", "PAttn", "LastValue", "SeasonalNaive"), ()),
}
CONTROLS = ("random_llm", "none", "attention", "shuffled", "permuted", "constant", "words", "numbers", "mlp")
DEMO = ("--target_data", "demo", "--root_path", str(DEMO_PATH.resolve().parents[1]))
ZERO_SHOT = ("--task_name", "zero_shot_forecast", *DEMO)
M4 = ("--task_name", "short_term_forecast", "--data", "M4", "--m4_frequencies", "Yearly")
# Other runs: trained and tested only.
OTHERS: dict[str, tuple[str, ...]] = {
    "BALM, no learnable prompt": (*BALM, "--no_learnable_prompt"),
    **{f"BALM, {name}": (*BALM, "--text_branch", name) for name in CONTROLS},
    "BALM, published": (*BALM, "--compat_official"),
    "BALM, bf16": (*BALM, "--precision", "bf16"),
    "DLinear, quantiles": ("--quantiles", "0.1,0.5,0.9"),
    "BALM, zero-shot": (*BALM, *ZERO_SHOT),
    "CALF, zero-shot": (*MODELS["CALF"], *ZERO_SHOT),
    "TimeLLM, zero-shot": (*MODELS["TimeLLM"], *ZERO_SHOT),
    "CALF, M4": (*MODELS["CALF"], *M4),
    "DLinear, M4": M4,
}
# The coverage of the test's intervals is counted channel by channel, once a run.
KNOWN_PLACE = "utils/intervals/conformal.py"
# Where a model makes the host wait because it cannot do without, and why.
KNOWN_WAITS: dict[str, str] = {
    # The strongest periods are the shapes of what is computed next: one wait in each of its layers.
    "TimesNet": "layers/timesnet/periods.py",
}
# Launches of a training step, forward, backward and Adam; a model without parameters has no step.
LAUNCHES: dict[str, int] = {
    "BALM": 297,
    "BALM, prompt frozen": 178,
    "BALM, no learnable prompt": 178,
    "CALF": 382,
    "TimeLLM": 174,
    "TimeCMA": 630,
    "GPT4TS": 119,
    "UniTime": 393,
    "TimesNet": 389,
    "DLinear": 28,
    "NLinear": 20,
    "PatchTST": 257,
    "iTransformer": 178,
    "PAttn": 87,
    "LastValue": 0,
    "SeasonalNaive": 0,
    "BALM, zero-shot": 297,
    "CALF, M4": 388,
    "BALM, published": 265,
    "BALM, bf16": 311,
    "DLinear, quantiles": 54,
    "BALM, attention": 231,
    "BALM, words": 215,
    "BALM, numbers": 214,
    "BALM, mlp": 214,
    "BALM, shuffled": 303,
    "BALM, permuted": 297,
    "BALM, constant": 329,
    "BALM, none": 61,
    "BALM, random_llm": 297,
    "CALF, zero-shot": 382,
    "TimeLLM, zero-shot": 174,
    "DLinear, M4": 48,
}


def command(name: str, place: Path) -> list[str]:
    """The flags of a trial run of a case, in the folder `place`."""
    words = ["--model", name.split(",")[0], "--fast_dev_run", "--output_dir", str(place / name)]
    if "M4" in name:
        return [*words, *OTHERS[name], "--root_path", str(place), "--batch_size", "2"]
    data = ["--data", "custom", "--data_path", str(place / "table.csv"), "--seq_len", "96", "--pred_len", "24"]
    return [*words, *(MODELS | OTHERS)[name], *data, "--batch_size", "8"]
