#!/usr/bin/env bash
# DLinear on ETTh1, look-back 512, all training rows. Extra flags reach every run.
# Published at look-back 336: Adam 0.005 in batches of 32, halved, 10 epochs, patience 3; the same here.
source "$(dirname "$0")/../exp/recipes.sh"
for pred_len in 96 192 336 720; do
  recipe "$pred_len" --model DLinear --data ETTh1 --seq_len "${LOOK_BACK:-512}" \
    --batch_size 32 --learning_rate 0.005 --lradj halving --train_epochs 10 --patience 3
done
finish DLinear ETTh1
