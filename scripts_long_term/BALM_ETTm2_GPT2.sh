#!/usr/bin/env bash
# BALM-TSF on ETTm2, look-back 512, all training rows. Extra flags reach every run; HORIZONS='96 192' runs only these horizons.
# The settings that the published scripts effectively used: learning rates, Adam's beta1 0.95, the global batch of all
# processes, and InfoNCE among the rows of one published process (--alignment_rows).
source "$(dirname "$0")/../exp/recipes.sh"
balm() {
  recipe "$1" --model BALM --data ETTm2 --seq_len "${LOOK_BACK:-512}" --llm_layers 6 --adam_beta1 0.95 \
    --d_model 32 --d_ff 128 --train_epochs 10 --patience 10 \
    "${@:2}"
}
balm 96 --batch_size 64 --alignment_rows 16 --lradj halving --learning_rate 0.0004
balm 192 --batch_size 96 --alignment_rows 24 --lradj one_cycle --learning_rate 0.002
balm 336 --batch_size 96 --alignment_rows 24 --lradj one_cycle --learning_rate 0.002
balm 720 --batch_size 96 --alignment_rows 24 --lradj one_cycle --learning_rate 0.005
finish BALM ETTm2
