# What the scripts of recipes share. A script reads this file first:
#   source "$(dirname "$0")/../exp/recipes.sh"
# It goes to the project's folder, so that a script may be started from anywhere, and defines
#   recipe HORIZON FLAGS...   one run with the recipe's flags, if HORIZON is one of $HORIZONS (default: all); $recipe_name
#                             names the recipe in the record (default: published)
#   finish MODEL DATA         a table of the runs; then the script's exit code
# A script's own words become flags of every run. They follow --recipe, and so the record of a run knows what was changed.
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
extra=("$@")
horizons=()
status=0

recipe() {
  horizons+=("$1")
  [[ " ${HORIZONS:-$1} " == *" $1 "* ]] || return 0
  started=yes
  python run.py "${@:2}" --pred_len "$1" --recipe "${recipe_name:-published}" "${extra[@]}" || status=$?
}

finish() {
  if [[ -n ${horizons[*]} && -z ${started:-} ]]; then
    echo "error: HORIZONS='$HORIZONS' names no horizon of this script: it has ${horizons[*]}" >&2
    exit 2
  fi
  # A script that calls others prints one table for all of them.
  [[ -n ${PART_OF_ANOTHER:-} ]] || python -m utils.report.summary --model "$1" --data "$2" "${extra[@]}"
  exit "$status"
}
