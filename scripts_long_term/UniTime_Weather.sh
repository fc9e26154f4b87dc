#!/usr/bin/env bash
# UniTime on Weather alone, look-back 96. Extra flags reach every run; HORIZONS='96 192' runs only these horizons.
# A special case: published is one model for eight data sets (UniTime_all.sh), so this has no published settings of its own;
# these are the published ones of Weather there, 64 windows of 21 channels a batch.
source "$(dirname "$0")/../exp/recipes.sh"
unitime() {
  recipe "$1" --model UniTime --data Weather --seq_len "${LOOK_BACK:-96}" --patch_len 16 --stride 16 --llm_layers 6 --mask_rate 0.5 \
    --batch_size 1344 --learning_rate 0.0001 --lradj cosine --cosine_epochs 20 --train_epochs 10 --patience 10 \
    "${@:2}"
}
unitime 96
unitime 192
unitime 336
unitime 720
finish UniTime Weather
