#!/usr/bin/env bash
# DLinear on Exchange, look-back 512, all training rows. Extra flags reach every run.
# Batches of 32 instead of the published 8; of the learning rates 0.0005 and 0.002 the better on validation.
source "$(dirname "$0")/../exp/recipes.sh"
for pred_len in 96 192 336 720; do
  recipe "$pred_len" --model DLinear --data Exchange --seq_len "${LOOK_BACK:-512}" \
    --batch_size 32 --learning_rate 0.002 --lradj halving --train_epochs 10 --patience 3
done
finish DLinear Exchange
