#!/usr/bin/env bash
# DLinear on Weather, look-back 512, all training rows. Extra flags reach every run.
# Batches of 256 instead of the published 16 for speed; of the learning rates 0.001 and 0.003 the better on validation.
source "$(dirname "$0")/../exp/recipes.sh"
for pred_len in 96 192 336 720; do
  recipe "$pred_len" --model DLinear --data Weather --seq_len "${LOOK_BACK:-512}" \
    --batch_size 256 --learning_rate 0.001 --lradj halving --train_epochs 10 --patience 3
done
finish DLinear Weather
