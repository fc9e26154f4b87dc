#!/usr/bin/env bash
# NLinear on Exchange, look-back 512, all training rows. Extra flags reach every run.
# As DLinear on this data set: the paper trains both in the same way.
source "$(dirname "$0")/../exp/recipes.sh"
for pred_len in 96 192 336 720; do
  recipe "$pred_len" --model NLinear --data Exchange --seq_len "${LOOK_BACK:-512}" \
    --batch_size 32 --learning_rate 0.002 --lradj halving --train_epochs 10 --patience 3
done
finish NLinear Exchange
