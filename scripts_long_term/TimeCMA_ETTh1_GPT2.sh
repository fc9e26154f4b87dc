#!/usr/bin/env bash
# TimeCMA on ETTh1, look-back 96, all training rows. Extra flags reach every run; HORIZONS='96 192' runs only these horizons.
# The published settings (AdamW, gradient norm 5, all blocks of GPT-2), but with shuffled training windows and the
# library's seed; the published one is 2024.
# At look-back 512 (BALM-TSF's Table 1) the prompt has the last 96 values: all 512 do not fit GPT-2's positions.
source "$(dirname "$0")/../exp/recipes.sh"
time_cma() {
  recipe "$1" --model TimeCMA --data ETTh1 --seq_len "${LOOK_BACK:-96}" \
    --llm_layers 12 --lradj cosine --cosine_epochs 50 --patience 50 \
    --batch_size 16 --learning_rate 0.0001 --d_layers 2 \
    "${@:2}"
}
time_cma 96 --d_model 64 --e_layers 1 --dropout 0.7 --train_epochs 100
time_cma 192 --d_model 64 --e_layers 1 --dropout 0.7 --train_epochs 100
time_cma 336 --d_model 64 --e_layers 1 --dropout 0.7 --train_epochs 120
time_cma 720 --d_model 32 --e_layers 2 --dropout 0.8 --train_epochs 100
finish TimeCMA ETTh1
