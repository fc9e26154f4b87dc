#!/usr/bin/env bash
# TimeCMA on Weather, look-back 96, all training rows. Extra flags reach every run; HORIZONS='96 192' runs only these horizons.
# The published settings (AdamW, gradient norm 5, all blocks of GPT-2), but with shuffled training windows and the
# library's seed; the published one is 2024.
source "$(dirname "$0")/../exp/recipes.sh"
time_cma() {
  recipe "$1" --model TimeCMA --data Weather --seq_len "${LOOK_BACK:-96}" \
    --llm_layers 12 --lradj cosine --patience 50 \
    --batch_size 32 --dropout 0.1 \
    "${@:2}"
}
time_cma 96 --learning_rate 0.001 --d_model 64 --e_layers 6 --d_layers 2 --train_epochs 20 --cosine_epochs 20
time_cma 192 --learning_rate 0.0001 --d_model 32 --e_layers 1 --d_layers 2 --train_epochs 100 --cosine_epochs 50
time_cma 336 --learning_rate 0.0001 --d_model 32 --e_layers 1 --d_layers 2 --train_epochs 100 --cosine_epochs 50
time_cma 720 --learning_rate 0.0001 --d_model 32 --e_layers 1 --d_layers 1 --train_epochs 100 --cosine_epochs 50
finish TimeCMA Weather
