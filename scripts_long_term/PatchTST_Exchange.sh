#!/usr/bin/env bash
# PatchTST on Exchange, look-back 512, all training rows. Extra flags reach every run.
# Not in the paper: its sizes for hourly ETT, because this data set is even smaller, and batches of 32.
# A constant rate with patience 10 is our choice.
source "$(dirname "$0")/../exp/recipes.sh"
for pred_len in 96 192 336 720; do
  recipe "$pred_len" --model PatchTST --data Exchange --seq_len "${LOOK_BACK:-512}" \
    --d_model 16 --n_heads 4 --d_ff 128 --dropout 0.3 --e_layers 3 \
    --batch_size 32 --learning_rate 0.0001 --lradj constant --patience 10 --train_epochs 100
done
finish PatchTST Exchange
