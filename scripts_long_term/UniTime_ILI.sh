#!/usr/bin/env bash
# UniTime on ILI alone, look-back 36. Extra flags reach every run; HORIZONS='24 36' runs only these horizons.
# A special case: published is one model for eight data sets (UniTime_all.sh), so this has no published settings of its own;
# these are the published ones of ILI there, 16 windows of 7 channels a batch.
source "$(dirname "$0")/../exp/recipes.sh"
unitime() {
  recipe "$1" --model UniTime --data ILI --seq_len "${LOOK_BACK:-36}" --patch_len 16 --stride 4 --llm_layers 6 --mask_rate 0.5 \
    --batch_size 112 --learning_rate 0.0001 --lradj cosine --cosine_epochs 20 --train_epochs 10 --patience 10 \
    "${@:2}"
}
unitime 24
unitime 36
unitime 48
unitime 60
finish UniTime ILI
