#!/usr/bin/env bash
# NLinear on Exchange, look-back 512, all training rows. Extra flags reach every run.
# As DLinear on this data set: the paper trains both in the same way.
status=0
for pred_len in 96 192 336 720; do
  python run.py --model NLinear --data Exchange --seq_len 512 --pred_len "$pred_len" \
    --batch_size 32 --learning_rate 0.002 --lradj halving --train_epochs 10 --patience 3 "$@" || status=$?
done
exit $status
