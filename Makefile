# The commands of the README. Each creates .venv and installs its requirements.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: quickstart test test-long verdict clean

quickstart: .venv/runs
	$(BIN)/python run.py --model BALM --data demo --seq_len 96 --pred_len 24 \
		--llm_model random --llm_layers 2 --llm_width 128 --llm_heads 4 \
		--batch_size 64 --learning_rate 0.002 --train_epochs 4 --output_dir results --overwrite
	@echo "These figures measure nothing: the data are a synthetic demo set and the GPT-2 has random weights."
	@echo "A cell of the paper: $(BIN)/python -m data_provider.download ETTh1, then, with .venv activated, bash scripts_long_term/BALM_ETTh1_GPT2.sh"

test: .venv/tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/pytest -n 2 -m "not long"
	$(BIN)/python -m tests.pretend_device

test-long: .venv/tests
	$(BIN)/pytest -n 2 -m long

# What the committed runs still lack, then the page (docs/verdict) and its part of the README. Data files: make verdict DATA=FOLDER.
DATA ?= dataset
# In the order of the plan.
VERDICT := $(patsubst %,scripts_verdict/%.sh,BALM_core BALM_core_second_rate BALM_without_alignment BALM_whole BALM_MiniLM \
	CALF_ETTh1_ILI GPT4TS_ETTh1_ILI Simple_models)
verdict: .venv/tests
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps -r requirements-llm.txt
	mkdir -p results/verdict
	$(BIN)/python -m exp.grid --scripts $(VERDICT) --finished docs/verdict/results.csv \
		-- --root_path $(DATA) --output_dir results/verdict --text_store results/texts; \
	status=$$?; \
	test -f docs/verdict/probe.csv || $(BIN)/python -m exp.probe --root_path $(DATA) || status=$$?; \
	$(BIN)/python -m utils.verdict --collect results/verdict && exit $$status

.venv/runs: requirements.txt requirements-package.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.txt
	touch $@

.venv/tests: .venv/runs requirements-dev.txt
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	touch $@

clean:
	rm -rf .venv
