#!/usr/bin/env bash
# BALM-TSF on Traffic, look-back 512, all training rows. Extra flags reach every run; HORIZONS='96 192' runs only these horizons.
# Nothing was published for this data set: the settings are those of Weather, in global batches of 96 rows.
recipe_name=ours
source "$(dirname "$0")/../exp/recipes.sh"
balm() {
  recipe "$1" --model BALM --data Traffic --seq_len "${LOOK_BACK:-512}" --llm_layers 6 --adam_beta1 0.95 \
    --batch_size 96 --alignment_rows 24 --d_model 32 --d_ff 128 --lradj cosine --learning_rate 0.0005 --train_epochs \
    10 --patience 10 \
    "${@:2}"
}
balm 96
balm 192
balm 336
balm 720
finish BALM Traffic
