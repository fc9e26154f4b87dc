"""Help explains every flag of a command once, by concern, without importing torch."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
from pathlib import Path

import pytest

from data_provider.config import DataConfig
from exp import TASKS, task_class
from exp.config import TrackConfig, TrainConfig
from models import MODELS, model_class
from utils.flags.help import help_text

ROOT = Path(__file__).parents[3]
COMMON = (DataConfig, TrainConfig, TrackConfig)


def names_of(text: str) -> list[str]:
    return re.findall(r"^  --(\w+)", text, re.MULTILINE)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("task", [task for task in TASKS if task != "predict"])
def test_each_flag_of_model_and_task_is_there_once(model, task):
    configs = (*COMMON, model_class(model).Config, *task_class(task).task_configs)
    fields = [field for config in configs for field in dataclasses.fields(config) if field.init]
    expected = {f"no_{field.name}" if field.default is True else field.name for field in fields}
    found = names_of(help_text([f"--model={model}", "--task-name", task]))
    assert sorted(found) == sorted(["task_name", "model", *expected])


def test_no_default_is_said_where_there_is_none_or_the_text_says_it():
    text = " ".join(help_text(["--model", "BALM"]).split())
    assert "(default: None)" not in text and "(default: )" not in text
    assert "(default: 0.7,0.1,0.2" not in text
    assert "Data --data" in text and "Language model --llm_model" in text and "Tracking --track" in text


def test_help_of_an_own_model_imports_neither_torch_nor_transformers():
    code = (
        "import contextlib, runpy, sys\n"
        "sys.argv[1:] = ['--model', 'DLinear', '--help']\n"
        "with contextlib.suppress(SystemExit): runpy.run_path('run.py', run_name='__main__')\n"
        "print('heavy:', {'torch', 'transformers', 'pandas', 'matplotlib'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "--moving_avg" in done.stdout and done.stdout.endswith("heavy: set()\n")
