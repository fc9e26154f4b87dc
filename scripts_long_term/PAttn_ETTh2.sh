#!/usr/bin/env bash
# PAttn on ETTh2, look-back 512, all training rows. Extra flags reach every run.
# Our choice of width, rate and schedule; batches of 256 single channels as GPT4TS has.
recipe_name=ours
source "$(dirname "$0")/../exp/recipes.sh"
for pred_len in 96 192 336 720; do
  recipe "$pred_len" --model PAttn --data ETTh2 --seq_len "${LOOK_BACK:-512}" \
    --patch_len 16 --stride 8 --d_model 128 --n_heads 8 --dropout 0.1 \
    --batch_size 256 --learning_rate 0.0005 --lradj halving --train_epochs 10 --patience 3
done
finish PAttn ETTh2
