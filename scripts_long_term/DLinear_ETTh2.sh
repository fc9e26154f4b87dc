#!/usr/bin/env bash
# DLinear on ETTh2, look-back 512, all training rows. Extra flags reach every run.
# Published at look-back 336: batches of 32, a rate of 0.05; 0.005 is better on validation here (of 0.001, 0.005, 0.02).
source "$(dirname "$0")/../exp/recipes.sh"
for pred_len in 96 192 336 720; do
  recipe "$pred_len" --model DLinear --data ETTh2 --seq_len "${LOOK_BACK:-512}" \
    --batch_size 32 --learning_rate 0.005 --lradj halving --train_epochs 10 --patience 3
done
finish DLinear ETTh2
