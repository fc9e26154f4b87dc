#!/usr/bin/env bash
# Every control of CALF on ETTh1 over three seeds, each with the settings of scripts_long_term/CALF_ETTh1_GPT2.sh.
# Extra flags reach every run; HORIZONS='96 192' runs only these horizons.
source "$(dirname "$0")/../exp/recipes.sh"
export PART_OF_ANOTHER=yes
for control in "" "--textual_branch none" "--backbone random_llm" "--no_lora" "--full_fine_tuning" "--no_match_module"; do
  # Unquoted, because a control may be several words.
  # shellcheck disable=SC2086
  bash scripts_long_term/CALF_ETTh1_GPT2.sh --seeds 2021 0 42 $control "${extra[@]}" || status=$?
done
PART_OF_ANOTHER="" finish CALF ETTh1
