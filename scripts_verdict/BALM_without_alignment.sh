#!/usr/bin/env bash
# Part 2 of docs/verdict/plan.md: BALM with SmolLM2 on the four cells of part 1, without the alignment loss, three seeds.
# Its cells, settings and flags are those of BALM_core.sh; `none` has no alignment loss there either.
status=0
for arm in "--text_branch llm" "--text_branch permuted" "--text_branch random_llm --llm_seed 2021"; do
  ARMS=$arm bash scripts_verdict/BALM_core.sh --alignment_weight 0 --seeds 2021 0 42 "$@" || status=$?
done
exit $status
