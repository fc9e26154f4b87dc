#!/usr/bin/env bash
# CALF on Weather, look-back 96, all training rows. Extra flags reach every run; HORIZONS='96 192' runs only these horizons.
# The published settings; the cosine rises again after --cosine_epochs.
source "$(dirname "$0")/../exp/recipes.sh"
calf() {
  recipe "$1" --model CALF --data Weather --seq_len "${LOOK_BACK:-96}" --llm_layers 6 \
    --batch_size 64 --lora_rank 8 --lora_alpha 32 --lora_dropout 0.1 --lradj cosine --cosine_epochs 20 \
    --learning_rate 0.0005 --train_epochs 100 --patience 5 --loss smooth_l1 --feature_loss smooth_l1 --output_loss \
    smooth_l1 --feature_weight 0.01 --output_weight 1 \
    "${@:2}"
}
calf 96
calf 192
calf 336
calf 720
finish CALF Weather
