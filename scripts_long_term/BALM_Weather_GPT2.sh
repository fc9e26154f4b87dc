#!/usr/bin/env bash
# BALM-TSF on Weather, look-back 512, all training rows. Extra flags reach every run; HORIZONS='96 192' runs only these horizons.
# The settings that the published scripts effectively used: learning rates (a cosine down to its floor in 5 epochs, then up again),
# Adam's beta1 0.9, the global batch of all processes, and InfoNCE among the rows of one published process
# (--alignment_rows).
source "$(dirname "$0")/../exp/recipes.sh"
balm() {
  recipe "$1" --model BALM --data Weather --seq_len "${LOOK_BACK:-512}" --llm_layers 6 --adam_beta1 0.9 \
    --batch_size 64 --alignment_rows 16 --lradj cosine --cosine_epochs 5 --learning_rate 0.0005 --patience 10 \
    "${@:2}"
}
balm 96 --d_model 32 --d_ff 128 --train_epochs 15
balm 192 --d_model 16 --d_ff 64 --train_epochs 15
balm 336 --d_model 32 --d_ff 128 --train_epochs 10
balm 720 --d_model 32 --d_ff 128 --train_epochs 15
finish BALM Weather
