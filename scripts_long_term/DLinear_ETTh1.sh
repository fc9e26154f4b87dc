#!/usr/bin/env bash
# DLinear on ETTh1, look-back 512, all training rows. Extra flags reach every run.
# Published at look-back 336: Adam 0.005 in batches of 32, halved, 10 epochs, patience 3; the same here.
status=0
for pred_len in 96 192 336 720; do
  python run.py --model DLinear --data ETTh1 --seq_len 512 --pred_len "$pred_len" \
    --batch_size 32 --learning_rate 0.005 --lradj halving --train_epochs 10 --patience 3 "$@" || status=$?
done
exit $status
