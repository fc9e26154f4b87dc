#!/usr/bin/env bash
# iTransformer on ETTm1, look-back 512, all training rows. Extra flags reach every run.
# Published at look-back 96: Adam 1e-4 halved after each epoch, batches of 32, 10 epochs, patience 3.
source "$(dirname "$0")/../exp/recipes.sh"
for pred_len in 96 192 336 720; do
  recipe "$pred_len" --model iTransformer --data ETTm1 --seq_len "${LOOK_BACK:-512}" \
    --d_model 128 --d_ff 128 --n_heads 8 --e_layers 2 --dropout 0.1 \
    --batch_size 32 --learning_rate 0.0001 --lradj halving --train_epochs 10 --patience 3
done
finish iTransformer ETTm1
