#!/usr/bin/env bash
# CALF trained on ETTh2 and tested on ETTm1 and ETTm2 without retraining, look-back 96, each target in its own scaler's
# units. The published settings. Extra flags reach every run; HORIZONS='96 192' runs only these horizons.
source "$(dirname "$0")/../exp/recipes.sh"
calf() {
  recipe "$1" --task_name zero_shot_forecast --model CALF --data ETTh2 --target_data ETTm1 ETTm2 --seq_len "${LOOK_BACK:-96}" --llm_layers 6 \
    --batch_size 256 --lora_rank 8 --lora_alpha 32 --lora_dropout 0.1 --lradj cosine --cosine_epochs 20 \
    --learning_rate 0.0001 --train_epochs 100 --patience 1 --loss l1 --feature_loss l1 --output_loss l1 \
    --feature_weight 0.01 --output_weight 1 \
    "${@:2}"
}
calf 96
calf 192
calf 336
calf 720
finish CALF ETTh2
