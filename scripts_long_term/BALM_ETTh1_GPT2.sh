#!/usr/bin/env bash
# BALM-TSF on ETTh1, look-back 512, all training rows. Extra flags reach every run; HORIZONS='96 192' runs only these horizons.
# The settings that the published scripts effectively used: learning rates, Adam's beta1 0.95, the global batch of all
# processes, and InfoNCE among the rows of one published process (--alignment_rows).
source "$(dirname "$0")/../exp/recipes.sh"
balm() {
  recipe "$1" --model BALM --data ETTh1 --seq_len "${LOOK_BACK:-512}" --llm_layers 6 --adam_beta1 0.95 \
    --batch_size 96 --alignment_rows 24 --d_model 32 --d_ff 128 --lradj halving --train_epochs 100 --patience 10 \
    "${@:2}"
}
balm 96 --learning_rate 0.0004
balm 192 --learning_rate 0.0008
balm 336 --learning_rate 0.0004
balm 720 --learning_rate 0.0004
finish BALM ETTh1
