#!/usr/bin/env bash
# PatchTST on ETTm2, look-back 512, all training rows. Extra flags reach every run.
# Published: Adam 1e-4, batches of 128, at most 100 epochs; the sizes for large data sets.
# The schedule is the published one cycle; patience as published.
source "$(dirname "$0")/../exp/recipes.sh"
for pred_len in 96 192 336 720; do
  recipe "$pred_len" --model PatchTST --data ETTm2 --seq_len "${LOOK_BACK:-512}" \
    --d_model 128 --n_heads 16 --d_ff 256 --dropout 0.2 --e_layers 3 \
    --batch_size 128 --learning_rate 0.0001 --lradj one_cycle --patience 20 --train_epochs 100
done
finish PatchTST ETTm2
