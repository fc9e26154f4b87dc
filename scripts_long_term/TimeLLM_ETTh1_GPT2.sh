#!/usr/bin/env bash
# Time-LLM on ETTh1, look-back 512, all training rows. Extra flags reach every run; HORIZONS='96 192' runs only these horizons.
# The settings that the published scripts effectively used: the batch of all processes, and the learning rate and Adam's
# beta1 that really ran. Language model: six blocks of GPT-2, as BALM-TSF's authors reran it; Time-LLM's own scripts read
# all of LLaMA-7B (--llm_model huggyllama/llama-7b --llm_layers 32).
# At H=336 the published cosine went down and up every 5 epochs: each of 8 processes stepped it.
source "$(dirname "$0")/../exp/recipes.sh"
time_llm() {
  recipe "$1" --model TimeLLM --data ETTh1 --seq_len "${LOOK_BACK:-512}" \
    --llm_layers 6 --patch_len 16 --stride 8 --d_model 32 --d_ff 128 \
    --batch_size 192 --train_epochs 100 --patience 10 \
    "${@:2}"
}
time_llm 96 --lradj halving --learning_rate 0.0004 --adam_beta1 0.95
time_llm 192 --lradj halving --learning_rate 0.0008 --adam_beta1 0.95
time_llm 336 --lradj cosine --cosine_epochs 2.5 --learning_rate 0.001
time_llm 720 --lradj halving --learning_rate 0.0004 --adam_beta1 0.95
finish TimeLLM ETTh1
