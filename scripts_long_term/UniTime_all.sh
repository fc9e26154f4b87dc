#!/usr/bin/env bash
# UniTime as published: one model for eight data sets, tested at four horizons of each. Extra flags reach the run.
# The published settings: look-back 96 and horizon 720 (ILI 36 and 60), batches of 32, 32, 64, 64, 24, 64, 24 and 16 windows
# (rows here: windows x channels), ILI thirteen times in the list from which a step's data set is drawn, AdamW 1e-4 without
# decay, a cosine over 20 epochs down to 1e-6, 10 epochs. One departure: kept is the epoch with the lowest mean validation
# error over all eight sets, not the published drifting sum over five of them.
cd "$(dirname "$0")/.." || exit 1
python run.py --model UniTime --data ETTh1,ETTh2,ETTm1,ETTm2,ECL,Weather,Exchange,ILI --seq_len 96 --pred_len 720 \
  --seq_lens 96 96 96 96 96 96 96 36 --pred_lens 720 720 720 720 720 720 720 60 --strides 16 16 16 16 16 16 16 4 \
  --test_pred_lens 96/192/336/720 96/192/336/720 96/192/336/720 96/192/336/720 \
  96/192/336/720 96/192/336/720 96/192/336/720 24/36/48/60 \
  --batch_sizes 224 224 448 448 7704 1344 192 112 --repeats 1 1 1 1 1 1 1 13 \
  --patch_len 16 --llm_layers 6 --mask_rate 0.5 --learning_rate 0.0001 --lradj cosine --cosine_epochs 20 \
  --train_epochs 10 --patience 10 --recipe published "$@"
