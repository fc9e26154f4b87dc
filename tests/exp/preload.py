"""Imported once by the server that starts killable runs: all that a run needs."""

import torch
from transformers import GPT2Model

import exp.command_line
import exp.exp_long_term_forecast
import models.balm
import models.dlinear
import run

__all__ = ["GPT2Model", "exp", "models", "run", "torch"]
