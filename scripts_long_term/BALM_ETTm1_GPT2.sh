#!/usr/bin/env bash
# BALM-TSF on ETTm1, look-back 512, all training rows. Extra flags reach every run; HORIZONS='96 192' runs only these horizons.
# The settings that the published scripts effectively used: learning rates, Adam's beta1 0.95, the global batch of all
# processes, and InfoNCE among the rows of one published process (--alignment_rows).
source "$(dirname "$0")/../exp/recipes.sh"
balm() {
  recipe "$1" --model BALM --data ETTm1 --seq_len "${LOOK_BACK:-512}" --llm_layers 6 --adam_beta1 0.95 \
    --d_model 64 --d_ff 256 --train_epochs 100 \
    "${@:2}"
}
balm 96 --batch_size 128 --alignment_rows 32 --lradj halving --learning_rate 0.00004 --patience 10
balm 192 --batch_size 96 --alignment_rows 24 --lradj halving --learning_rate 0.00004 --patience 20
balm 336 --batch_size 96 --alignment_rows 24 --lradj halving --learning_rate 0.0002 --patience 20
balm 720 --batch_size 96 --alignment_rows 24 --lradj one_cycle --learning_rate 0.001 --patience 20
finish BALM ETTm1
