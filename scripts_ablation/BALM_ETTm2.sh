#!/usr/bin/env bash
# Every control of BALM-TSF on ETTm2 over three seeds, each with the settings of scripts_long_term/BALM_ETTm2_GPT2.sh.
# Extra flags reach every run; HORIZONS='96 192' runs only these horizons.
source "$(dirname "$0")/../exp/recipes.sh"
export PART_OF_ANOTHER=yes
for control in "" "--text_branch random_llm" "--text_branch none" "--text_branch attention" "--text_branch shuffled" \
  "--text_branch permuted" "--text_branch constant" "--text_branch words" "--text_branch numbers" "--text_branch mlp" \
  "--no_learnable_prompt" "--no_scaling" "--alignment_weight 0"; do
  # Unquoted, because a control may be several words.
  # shellcheck disable=SC2086
  bash scripts_long_term/BALM_ETTm2_GPT2.sh --seeds 2021 0 42 $control "${extra[@]}" || status=$?
done
PART_OF_ANOTHER="" finish BALM ETTm2
