#!/usr/bin/env bash
# SeasonalNaive on Exchange, look-back 512. Nothing is trained. Extra flags reach every run.
source "$(dirname "$0")/../exp/recipes.sh"
for pred_len in 96 192 336 720; do
  recipe "$pred_len" --model SeasonalNaive --data Exchange --seq_len "${LOOK_BACK:-512}" --batch_size 256
done
finish SeasonalNaive Exchange
