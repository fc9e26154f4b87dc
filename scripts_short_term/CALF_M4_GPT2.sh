#!/usr/bin/env bash
# CALF on the six frequencies of M4, one model each; the look-back is twice the horizon. Extra flags reach the run.
# The published settings. FREQUENCIES='Hourly Weekly' runs only these frequencies.
cd "$(dirname "$0")/.." || exit 1
read -ra frequencies <<< "${FREQUENCIES:-Yearly Quarterly Monthly Weekly Daily Hourly}"
python run.py --task_name short_term_forecast --model CALF --data M4 --llm_layers 6 \
  --batch_size 512 --lora_rank 8 --lora_alpha 32 --lora_dropout 0.1 --lradj cosine --cosine_epochs 20 \
  --learning_rate 0.001 --train_epochs 200 --patience 20 --loss smape --feature_loss smooth_l1 --output_loss mase \
  --feature_weight 0.01 --output_weight 1 \
  --m4_frequencies "${frequencies[@]}" --recipe published "$@"
