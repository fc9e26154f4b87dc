#!/usr/bin/env bash
# CALF on ETTh2, look-back 96, the first 10 percent of the training rows, alignment losses on as the paper describes.
# The published few-shot scripts had them off and took 5 percent: add --feature_weight 0 --output_weight 0 --percent 5
# Extra flags reach every run; HORIZONS='96 192' runs only these horizons.
source "$(dirname "$0")/../exp/recipes.sh"
calf() {
  recipe "$1" --model CALF --data ETTh2 --seq_len "${LOOK_BACK:-96}" --percent 10 --llm_layers 6 \
    --batch_size 256 --lora_rank 8 --lora_alpha 32 --lora_dropout 0.1 --lradj cosine --cosine_epochs 20 \
    --learning_rate 0.001 --train_epochs 100 --patience 10 --loss l1 --feature_loss l1 --output_loss l1 \
    --feature_weight 0.01 --output_weight 1 \
    "${@:2}"
}
calf 96
calf 192
calf 336
calf 720
finish CALF ETTh2
