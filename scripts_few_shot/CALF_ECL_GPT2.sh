#!/usr/bin/env bash
# CALF on ECL, look-back 96, the first 10 percent of the training rows, alignment losses on as published. Extra flags reach every run; HORIZONS='96 192' runs only these horizons.
source "$(dirname "$0")/../exp/recipes.sh"
calf() {
  recipe "$1" --model CALF --data ECL --seq_len "${LOOK_BACK:-96}" --percent 10 --llm_layers 6 \
    --batch_size 32 --lora_rank 8 --lora_alpha 32 --lora_dropout 0.1 --lradj cosine --cosine_epochs 10 \
    --learning_rate 0.0005 --train_epochs 20 --patience 5 --loss smooth_l1 --feature_loss smooth_l1 --output_loss \
    smooth_l1 --feature_weight 0.01 --output_weight 1 \
    "${@:2}"
}
calf 96
calf 192
calf 336
calf 720
finish CALF ECL
