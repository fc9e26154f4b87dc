#!/usr/bin/env bash
# TimesNet on ILI, look-back 36, all training rows. Extra flags reach every run; HORIZONS='24 36' runs only these horizons.
# The published settings: Adam 1e-4 halved after each epoch, batches of 32 windows, patience 3.
# Published are 674.8 million parameters for 966 rows.
source "$(dirname "$0")/../exp/recipes.sh"
timesnet() {
  recipe "$1" --model TimesNet --data ILI --seq_len "${LOOK_BACK:-36}" --e_layers 2 --top_k 5 --num_kernels 6 --dropout 0.1 \
    --batch_size 32 --learning_rate 0.0001 --lradj halving --train_epochs 10 --patience 3 \
    "${@:2}"
}
timesnet 24 --d_model 768 --d_ff 768
timesnet 36 --d_model 768 --d_ff 768
timesnet 48 --d_model 768 --d_ff 768
timesnet 60 --d_model 768 --d_ff 768
finish TimesNet ILI
