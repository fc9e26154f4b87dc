#!/usr/bin/env bash
# SeasonalNaive on ETTh1, look-back 512. Nothing is trained. Extra flags reach every run.
status=0
for pred_len in 96 192 336 720; do
  python run.py --model SeasonalNaive --data ETTh1 --seq_len 512 --pred_len "$pred_len" --batch_size 256 "$@" || status=$?
done
exit $status
