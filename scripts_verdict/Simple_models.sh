#!/usr/bin/env bash
# Part 6 of docs/verdict/plan.md: models without a language model on the look-back and rows of BALM_core.sh's four cells.
# Each has the settings of its scripts_long_term/ script for ETTh1, with patience 3. Extra flags reach every run.
extra=("$@")
status=0
train() {
  python run.py --patience 3 --seeds 2021 0 42 1 7 "$@" "${extra[@]}" || status=$?
}
for cell in "ETTh1 --seq_len 512 --pred_len 96 --percent 10" "ILI --seq_len 104 --pred_len 24" \
  "ETTh2 --seq_len 512 --pred_len 96 --percent 10" "Exchange --seq_len 512 --pred_len 96 --percent 10"; do
  # Unquoted, because a cell is several words.
  # shellcheck disable=SC2086
  for model in LastValue SeasonalNaive; do
    python run.py --model $model --data $cell "${extra[@]}" || status=$?
  done
  # shellcheck disable=SC2086
  for model in DLinear NLinear; do
    train --model $model --data $cell --batch_size 32 --learning_rate 0.005 --lradj halving --train_epochs 10
  done
  # shellcheck disable=SC2086
  train --model PatchTST --data $cell --d_model 16 --n_heads 4 --d_ff 128 --dropout 0.3 --e_layers 3 --batch_size 128 \
    --learning_rate 0.0001 --lradj constant --train_epochs 100
  # shellcheck disable=SC2086
  train --model PAttn --data $cell --patch_len 16 --stride 8 --d_model 128 --n_heads 8 --dropout 0.1 --batch_size 256 \
    --learning_rate 0.0005 --lradj halving --train_epochs 10
done
exit $status
