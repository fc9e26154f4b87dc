#!/usr/bin/env bash
# Second learning rate of docs/verdict/plan.md: BALM_core.sh at a tenth of the rate, in the cells where it is due (docs/verdict/README.md says which).
# Add a cell here once the page calls it due. Extra flags reach every run.
CELLS=ETTh1 bash "$(dirname "${BASH_SOURCE[0]}")/BALM_core.sh" --learning_rate 0.00004 "$@"
