#!/usr/bin/env bash
# Time-LLM on ETTh2, look-back 512, all training rows. Extra flags reach every run; HORIZONS='96 192' runs only these horizons.
# The settings that the published scripts effectively used: the batch of all processes, and the learning rate and Adam's
# beta1 that really ran. Language model: six blocks of GPT-2, as BALM-TSF's authors reran it; Time-LLM's own scripts read
# all of LLaMA-7B (--llm_model huggyllama/llama-7b --llm_layers 32).
source "$(dirname "$0")/../exp/recipes.sh"
time_llm() {
  recipe "$1" --model TimeLLM --data ETTh2 --seq_len "${LOOK_BACK:-512}" \
    --llm_layers 6 --patch_len 16 --stride 8 \
    --batch_size 192 --patience 10 \
    "${@:2}"
}
time_llm 96 --d_model 32 --d_ff 128 --train_epochs 10 --lradj halving --learning_rate 0.0004 --adam_beta1 0.95
time_llm 192 --d_model 32 --d_ff 128 --train_epochs 10 --lradj one_cycle --learning_rate 0.002
time_llm 336 --d_model 32 --d_ff 128 --train_epochs 10 --lradj one_cycle --learning_rate 0.005
time_llm 720 --d_model 16 --d_ff 128 --train_epochs 20 --lradj one_cycle --learning_rate 0.005
finish TimeLLM ETTh2
