#!/usr/bin/env bash
# Time-LLM trained on ETTh1 and tested on ETTh2 without retraining, look-back 512, each in its own scaler's units.
# Extra flags reach every run; HORIZONS='96 192' runs only these horizons.
# The published number of epochs; sizes and learning rates are those of scripts_long_term/TimeLLM_ETTh1_GPT2.sh.
source "$(dirname "$0")/../exp/recipes.sh"
time_llm() {
  recipe "$1" --task_name zero_shot_forecast --model TimeLLM --data ETTh1 --target_data ETTh2 --seq_len "${LOOK_BACK:-512}" \
    --llm_layers 6 --patch_len 16 --stride 8 --d_model 32 --d_ff 128 \
    --batch_size 192 --train_epochs 5 --patience 10 \
    "${@:2}"
}
time_llm 96 --lradj halving --learning_rate 0.0004 --adam_beta1 0.95
time_llm 192 --lradj halving --learning_rate 0.0008 --adam_beta1 0.95
time_llm 336 --lradj cosine --cosine_epochs 2.5 --learning_rate 0.001
time_llm 720 --lradj halving --learning_rate 0.0004 --adam_beta1 0.95
finish TimeLLM ETTh1
