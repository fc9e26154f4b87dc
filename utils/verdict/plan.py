"""What docs/verdict/plan.md asks for, as data: arms, cells, seeds and the comparisons of each part."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

PRETRAINED, NONE = "pretrained", "none"
RANDOM = ("random (2021)", "random (1)")
ARMS = (PRETRAINED, NONE, "mlp", "numbers", "constant", "words", "permuted", *RANDOM)
SEEDS = (2021, 0, 42, 1, 7)
FEW_SEEDS = SEEDS[:3]
# Reference -> its arms, and what a lower error of `pretrained` would say.
REFERENCES: dict[str, tuple[tuple[str, ...], str]] = {
    NONE: ((NONE,), "text helps"),
    "random": (RANDOM, "pretraining helps"),
    "permuted": (("permuted",), "the row's own text helps"),
    "constant": (("constant",), "the row's own text helps"),
    "numbers": (("numbers",), "language says more than the nine numbers"),
    "words": (("words",), "the transformer's states help, as BALM scales them"),
    "mlp": (("mlp",), "it is not the size"),
    "draw 2021 alone": (RANDOM[:1], "pretraining helps, against this draw"),
    "draw 1 alone": (RANDOM[1:], "pretraining helps, against this draw"),
}
# The plan's hypotheses, and the references that `pretrained` must be better than, all of them.
HYPOTHESES: dict[str, tuple[str, ...]] = {
    "1. Text helps": (NONE,),
    "2. Pretraining helps": ("random",),
    "3. The row's own text helps": ("permuted", "constant"),
    "4. Language helps": ("numbers", "words"),
    "5. It is not the size": ("mlp",),
}
# The first part: its cells as `collection.cell_of` names them.
CELLS = (
    "ETTh1_10pct_512_96_rate0.0004",
    "ILI_104_24_rate0.0004",
    "ETTh2_10pct_512_96_rate0.0008",
    "Exchange_10pct_512_96_rate0.0002",
)
WHOLE = "ETTh1_512_96_rate0.0004"
# Models beside BALM: their cells, and what a reader has to know of their arms.
OTHER_MODELS = {
    "CALF": (
        ("ETTh1_10pct_96_96_rate0.0005", "ILI_36_24_rate0.0005"),
        "`CALF none` has no textual branch and no alignment losses; the language model that reads the series, "
        "pretrained and tuned by LoRA, stays.",
    ),
    "GPT4TS": (
        ("ETTh1_10pct_512_96_rate0.0001", "ILI_104_24_rate0.0001"),
        "`GPT4TS none` has no transformer: the head reads the embedded patches.",
    ),
}
SIMPLE = ("LastValue", "SeasonalNaive", "DLinear", "NLinear", "PatchTST", "PAttn")
NAIVE = SIMPLE[:2]
# A second learning rate is due if the best epoch of `pretrained` is the first in at least so many seeds.
SEEDS_OF_SECOND_RATE = 3
_NAME = re.compile(
    r"(?P<data>.+?)(?:_(?P<percent>\d+)pct)?_(?P<seq_len>\d+)_(?P<pred_len>\d+)(?:_rate(?P<rate>[\d.]+))?"
)


@dataclass(frozen=True)
class Pair:
    """An arm to be compared with a reference: the mean, seed by seed, of `arms`."""

    arm: str
    reference: str
    arms: tuple[str, ...]


@dataclass(frozen=True)
class Part:
    """Arms to be compared in some cells, with these seeds.

    p-values are corrected over the cells and the pairs of a family: those of an arm with the references of one
    hypothesis of the plan. Every other pair is a family of its own.
    """

    title: str
    cells: tuple[str, ...]
    arms: tuple[str, ...]
    pairs: tuple[Pair, ...]
    seeds: tuple[int, ...] = SEEDS
    # What a reader has to know of the arms.
    note: str = ""

    @property
    def families(self) -> list[tuple[Pair, ...]]:
        """The pairs, those that are corrected together in one tuple."""
        found: dict[tuple[str, str], list[Pair]] = {}
        for pair in self.pairs:
            hypothesis = next((name for name, others in HYPOTHESES.items() if pair.reference in others), pair.reference)
            key = (pair.arm, hypothesis if pair.arm == PRETRAINED else pair.reference)
            found.setdefault(key, []).append(pair)
        return [tuple(pairs) for pairs in found.values()]

    @property
    def num_runs(self) -> int:
        """Runs that the plan asks for."""
        return len(self.cells) * len(self.arms) * len(self.seeds)


def name_of_cell(data: str, *, percent: float, seq_len: int, pred_len: int, rate: float | None = None) -> str:
    """A cell's name: data, share of the training rows unless all, look-back, horizon and, if given, learning rate."""
    share = f"_{percent:g}pct" if percent != 100 else ""
    end = "" if rate is None else f"_rate{np.format_float_positional(rate, trim='-')}"
    return f"{data}{share}_{seq_len}_{pred_len}{end}"


def setting_of(cell: str) -> str:
    """A cell's name without the learning rate: cells of one setting have the same rows."""
    return cell.split("_rate")[0]


def horizon_of(cell: str) -> int:
    """The horizon in a cell's name."""
    return int(_parts(cell)["pred_len"])


def second_rate(cell: str) -> str:
    """The cell at a tenth of its learning rate."""
    return f"{setting_of(cell)}_rate{np.format_float_positional(float(_parts(cell)['rate']) / 10, trim='-')}"


def cell_text(cell: str, *, with_rate: bool = False) -> str:
    """A cell in words, as a reader of a table or plot needs it."""
    found = _parts(cell)
    share = f", {found['percent']} % of the rows" if found["percent"] else ", all rows"
    rate = f", rate {found['rate']}" if with_rate and found["rate"] else ""
    return f"{found['data']} {found['seq_len']} to {found['pred_len']}{share}{rate}"


def data_of(cell: str) -> str:
    """The data set in a cell's name."""
    return _parts(cell)["data"]


def core(cells: tuple[str, ...] = CELLS, *, title: str = "1. Core") -> Part:
    """The nine arms; `pretrained` against every reference, every arm against `none` and against `random`."""
    pairs = [Pair(PRETRAINED, reference, arms) for reference, (arms, _) in REFERENCES.items()]
    others = [arm for arm in ARMS if arm not in (PRETRAINED, NONE)]
    pairs += [Pair(arm, NONE, (NONE,)) for arm in others]
    pairs += [Pair(arm, "random", RANDOM) for arm in (NONE, *others) if arm not in RANDOM]
    return Part(title, cells, ARMS, tuple(pairs))


def without_alignment() -> Part:
    """Three arms without the alignment loss, against each other, against `none` and against themselves with it."""
    reading = (PRETRAINED, "permuted", RANDOM[0])
    arms = tuple(f"{arm}, no alignment" for arm in reading)
    pairs = [_pair(first, second) for number, first in enumerate(arms) for second in arms[number + 1 :]]
    pairs += [_pair(arm, NONE) for arm in arms]
    pairs += [_pair(arm, with_it) for arm, with_it in zip(arms, reading, strict=True)]
    return Part("2. Without the alignment loss", CELLS, arms, tuple(pairs), FEW_SEEDS)


def whole() -> Part:
    """ETTh1 with all training rows."""
    arms = (PRETRAINED, NONE, "numbers", "permuted", RANDOM[0])
    return Part("3. ETTh1 with all training rows", (WHOLE,), arms, _all_pairs(arms), FEW_SEEDS)


def mini_lm() -> Part:
    """Another language model."""
    arms = tuple(f"{arm}, MiniLM" for arm in (PRETRAINED, RANDOM[0], NONE))
    return Part("4. MiniLM on ETTh1", CELLS[:1], arms, _all_pairs(arms))


def other_model(model: str) -> Part:
    """CALF or GPT4TS."""
    cells, note = OTHER_MODELS[model]
    arms = tuple(f"{model} {arm}" for arm in (PRETRAINED, RANDOM[0], NONE))
    return Part(f"5. {model}", cells, arms, _all_pairs(arms), FEW_SEEDS, note)


def later_parts() -> list[Part]:
    """Parts 2 to 5, whose arms are compared as those of the core."""
    return [without_alignment(), whole(), mini_lm(), *map(other_model, OTHER_MODELS)]


def num_simple_runs() -> int:
    """Runs of part 6: a naive forecast has no seed."""
    return len(CELLS) * (len(NAIVE) + (len(SIMPLE) - len(NAIVE)) * len(SEEDS))


def _all_pairs(arms: tuple[str, ...]) -> tuple[Pair, ...]:
    """The first arm against every other, and then the others against the one without text."""
    (none,) = [arm for arm in arms if NONE in arm]
    pairs = [_pair(arms[0], arm) for arm in arms[1:]]
    return (*pairs, *(_pair(arm, none) for arm in arms[1:] if arm != none))


def _pair(arm: str, reference: str) -> Pair:
    return Pair(arm, reference, (reference,))


def _parts(cell: str) -> dict[str, str]:
    found = _NAME.fullmatch(cell)
    assert found is not None, cell
    return found.groupdict(default="")
