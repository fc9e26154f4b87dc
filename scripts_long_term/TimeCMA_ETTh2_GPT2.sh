#!/usr/bin/env bash
# TimeCMA on ETTh2, look-back 96, all training rows. Extra flags reach every run; HORIZONS='96 192' runs only these horizons.
# The published settings (AdamW, gradient norm 5, all blocks of GPT-2), but with shuffled training windows and the
# library's seed; the published one is 2024.
source "$(dirname "$0")/../exp/recipes.sh"
time_cma() {
  recipe "$1" --model TimeCMA --data ETTh2 --seq_len "${LOOK_BACK:-96}" \
    --llm_layers 12 --lradj cosine --cosine_epochs 50 --patience 50 \
    --batch_size 16 --learning_rate 0.0001 --d_model 64 --e_layers 2 --d_layers 2 --dropout 0.3 --train_epochs 100 \
    "${@:2}"
}
time_cma 96
time_cma 192
time_cma 336
time_cma 720
finish TimeCMA ETTh2
