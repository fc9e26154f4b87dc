#!/usr/bin/env bash
# TimeCMA on ILI, look-back 36, all training rows. Extra flags reach every run; HORIZONS='24 36' runs only these horizons.
# The published settings (AdamW, gradient norm 5, all blocks of GPT-2), but with shuffled training windows and the
# library's seed; the published one is 6666 or 8888.
source "$(dirname "$0")/../exp/recipes.sh"
time_cma() {
  recipe "$1" --model TimeCMA --data ILI --seq_len "${LOOK_BACK:-36}" \
    --llm_layers 12 --lradj cosine --cosine_epochs 50 --patience 50 \
    --batch_size 16 --e_layers 1 --d_layers 1 \
    "${@:2}"
}
time_cma 24 --learning_rate 0.0001 --d_model 16 --dropout 0.1 --train_epochs 100
time_cma 36 --learning_rate 0.0001 --d_model 16 --dropout 0.1 --train_epochs 150
time_cma 48 --learning_rate 0.0025 --d_model 16 --dropout 0.3 --train_epochs 100
time_cma 60 --learning_rate 0.0001 --d_model 32 --dropout 0.1 --train_epochs 100
finish TimeCMA ILI
