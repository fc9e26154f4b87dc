#!/usr/bin/env bash
# TimesNet on ETTh2, look-back 96, all training rows. Extra flags reach every run; HORIZONS='96 192' runs only these horizons.
# The published settings: Adam 1e-4 halved after each epoch, batches of 32 windows, patience 3.
# At another look-back (--seq_len 512, BALM-TSF's Table 1) no settings are published.
source "$(dirname "$0")/../exp/recipes.sh"
timesnet() {
  recipe "$1" --model TimesNet --data ETTh2 --seq_len "${LOOK_BACK:-96}" --e_layers 2 --top_k 5 --num_kernels 6 --dropout 0.1 \
    --batch_size 32 --learning_rate 0.0001 --lradj halving --train_epochs 10 --patience 3 \
    "${@:2}"
}
timesnet 96 --d_model 32 --d_ff 32
timesnet 192 --d_model 32 --d_ff 32
timesnet 336 --d_model 32 --d_ff 32
timesnet 720 --d_model 32 --d_ff 32
finish TimesNet ETTh2
