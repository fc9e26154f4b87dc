#!/usr/bin/env bash
# CALF on ETTh1, look-back 96, all training rows. Extra flags reach every run; HORIZONS='96 192' runs only these horizons.
# The published settings; the cosine rises again after --cosine_epochs.
source "$(dirname "$0")/../exp/recipes.sh"
calf() {
  recipe "$1" --model CALF --data ETTh1 --seq_len "${LOOK_BACK:-96}" --llm_layers 6 \
    --batch_size 256 --lora_rank 8 --lora_alpha 32 --lora_dropout 0.1 --lradj cosine --cosine_epochs 20 \
    --learning_rate 0.0005 --train_epochs 100 --patience 10 --loss l1 --feature_loss l1 --output_loss l1 \
    --feature_weight 0.01 --output_weight 1 \
    "${@:2}"
}
calf 96
calf 192
calf 336
calf 720
finish CALF ETTh1
