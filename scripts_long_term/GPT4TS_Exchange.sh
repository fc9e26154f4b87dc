#!/usr/bin/env bash
# GPT4TS on Exchange, look-back 512, all training rows. Extra flags reach every run.
# Not in the paper: its settings for ETT.
source "$(dirname "$0")/../exp/recipes.sh"
for pred_len in 96 192 336 720; do
  recipe "$pred_len" --model GPT4TS --data Exchange --seq_len "${LOOK_BACK:-512}" \
    --patch_len 16 --stride 8 --llm_layers 6 --batch_size 256 --learning_rate 0.0001 \
    --lradj cosine --cosine_epochs 20 --train_epochs 10 --patience 3
done
finish GPT4TS Exchange
