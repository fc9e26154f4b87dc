#!/usr/bin/env bash
# TimeCMA on ECL, look-back 96, all training rows. Extra flags reach every run; HORIZONS='96 192' runs only these horizons.
# The published settings (AdamW, gradient norm 5, all blocks of GPT-2), but with shuffled training windows and the
# library's seed; the published one is 8888.
# The text states of ECL are large: give them --row_memory_mb 18000, or half of it with --text_state_dtype bf16.
source "$(dirname "$0")/../exp/recipes.sh"
time_cma() {
  recipe "$1" --model TimeCMA --data ECL --seq_len "${LOOK_BACK:-96}" \
    --llm_layers 12 --lradj cosine --cosine_epochs 50 --patience 50 \
    --batch_size 8 --learning_rate 0.001 --d_model 128 --e_layers 3 --d_layers 6 --train_epochs 50 \
    "${@:2}"
}
time_cma 96 --dropout 0.3
time_cma 192 --dropout 0.3
time_cma 336 --dropout 0.1
time_cma 720 --dropout 0.1
finish TimeCMA ECL
