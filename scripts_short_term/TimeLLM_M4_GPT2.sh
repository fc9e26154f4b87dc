#!/usr/bin/env bash
# Time-LLM on the six frequencies of M4, one model each; the look-back is twice the horizon. Extra flags reach the run.
# The published sizes, loss, learning rate and epochs, with GPT-2; no batch size is recorded, so it is the library's own.
# FREQUENCIES='Hourly Weekly' runs only these frequencies.
cd "$(dirname "$0")/.." || exit 1
read -ra frequencies <<< "${FREQUENCIES:-Yearly Quarterly Monthly Weekly Daily Hourly}"
python run.py --task_name short_term_forecast --model TimeLLM --data M4 --llm_layers 6 --patch_len 1 --stride 1 \
  --d_model 8 --d_ff 32 --lradj halving --learning_rate 0.001 --train_epochs 50 --loss smape \
  --m4_frequencies "${frequencies[@]}" --recipe published "$@"
