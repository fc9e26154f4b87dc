#!/usr/bin/env bash
# Every control of GPT4TS on ETTh1 over three seeds, each with the settings of scripts_long_term/GPT4TS_ETTh1.sh.
# Extra flags reach every run.
source "$(dirname "$0")/../exp/recipes.sh"
export PART_OF_ANOTHER=yes
for backbone in llm random_llm none; do
  bash scripts_long_term/GPT4TS_ETTh1.sh --seeds 2021 0 42 --backbone $backbone "${extra[@]}" || status=$?
done
PART_OF_ANOTHER="" finish GPT4TS ETTh1
