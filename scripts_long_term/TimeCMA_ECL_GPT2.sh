#!/usr/bin/env bash
# TimeCMA on ECL, look-back 96, all training rows. Extra flags reach every run; HORIZONS='96 192' runs only these horizons.
# The published settings (AdamW, gradient norm 5, all blocks of GPT-2), but with shuffled training windows and the
# library's seed; the published one is 8888.
# The text states of ECL are large: give them --row_memory_mb 18000, or half of it with --text_state_dtype bf16.
extra=("$@")
status=0
time_cma() {
  [[ " ${HORIZONS:-$1} " == *" $1 "* ]] || return 0
  python run.py --model TimeCMA --data ECL --seq_len 96 \
    --llm_layers 12 --lradj cosine --cosine_epochs 50 --patience 50 \
    --batch_size 8 --learning_rate 0.001 --d_model 128 --e_layers 3 --d_layers 6 --train_epochs 50 \
    --pred_len "$@" "${extra[@]}" || status=$?
}
time_cma 96 --dropout 0.3
time_cma 192 --dropout 0.3
time_cma 336 --dropout 0.1
time_cma 720 --dropout 0.1
exit $status
