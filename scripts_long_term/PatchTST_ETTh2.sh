#!/usr/bin/env bash
# PatchTST on ETTh2, look-back 512, all training rows. Extra flags reach every run.
# Published: Adam 1e-4, batches of 128, at most 100 epochs; the small sizes for hourly ETT.
# The published learning rate falls by a tenth per epoch from the fourth on; here it is constant, with patience 10.
source "$(dirname "$0")/../exp/recipes.sh"
for pred_len in 96 192 336 720; do
  recipe "$pred_len" --model PatchTST --data ETTh2 --seq_len "${LOOK_BACK:-512}" \
    --d_model 16 --n_heads 4 --d_ff 128 --dropout 0.3 --e_layers 3 \
    --batch_size 128 --learning_rate 0.0001 --lradj constant --patience 10 --train_epochs 100
done
finish PatchTST ETTh2
