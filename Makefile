# Two commands: `make demo` and `make test`. The rest is in `make help`.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
.PHONY: help forecast checked doctor demo results picture review check test lint bench audit cohorts report schema graph checks docs lock clean test-wheel slurm test-slurm test-bucket verify chaos kubernetes

PYTHON ?= python3.11
# two processes of tests, also where there are more cores: most are short, and Snakemake uses all cores itself
WORKERS = -n 2 --dist loadscope --no-loadscope-reorder
CORES ?= all
CONFIG ?= config/demo.yaml
# the first result is computed first; only simulated runs have one
PREVIEW = $(if $(filter config/demo.yaml,$(CONFIG)),--prioritize preview)
RESULTS = $$(PYTHONPATH=. .venv/bin/python workflow/results_folder.py $(CONFIG))

# uv does not read pip's settings: pass the location of local wheels
ifdef PIP_FIND_LINKS
export UV_FIND_LINKS ?= $(PIP_FIND_LINKS)
endif
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# where it is set, as in many containers, each process would compile all that it imports again
export PYTHONDONTWRITEBYTECODE :=
export PATH := $(CURDIR)/.venv/bin:$(PATH)

help: ## Show this list.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

forecast: $(if $(NWB),.venv-forecast/ready) ## Forecast recordings with released weights (NWB="a.nwb b.nwb" ARGS="--open").
	@[ -n "$${NWB:-}" ] || { echo "name recordings, or a folder of recordings: make forecast NWB=recording.nwb" >&2; exit 2; }
	@nwb="$$NWB"; if [ -e "$$nwb" ]; then files=("$$nwb"); else files=($$nwb); fi; \
	.venv-forecast/bin/neurohorizon forecast "$${files[@]}" $(ARGS)

checked: .venv/ready
	@results=$(RESULTS)

demo: checked ## Run the whole workflow on the simulated cohort; print scores and the path of the report.
	@PYTHONPATH=.:workflow:workflow/plugins snakemake --cores $(CORES) --configfile $(CONFIG) --logger follow $(PREVIEW)
	@$(MAKE) --no-print-directory report CONFIG=$(CONFIG)
	@results=$(RESULTS); cat $$results/cross_session/tables/summary.txt; echo; \
	effects=$$results/agreement/tables/planted_effects; if [ -e $$effects.txt ]; then cat $$effects.txt; echo; fi; \
	echo "Report: $$results/report.html"; \
	if grep -q "$$(printf '\tno$$')" $$effects.tsv 2>/dev/null; then echo "A planted effect does not hold." >&2; exit 1; fi

verify: checked ## Compare all files of a run with the records of their content (CONFIG=config/demo.yaml).
	@PYTHONPATH=. .venv/bin/python workflow/verify.py $(CONFIG)

doctor: .venv/ready ## Check what this machine can do for a run (CONFIG=config/config.yaml).
	@PYTHONPATH=. .venv/bin/python workflow/doctor.py $(if $(filter file,$(origin CONFIG)),config/config.yaml,$(CONFIG))

report: checked ## Write what report.html of a finished run links to: all figures, the rule graph (CONFIG=config/demo.yaml).
	@cd "$(RESULTS)"; \
	if [ ! -e workflow.html ] || \
	    [ -n "$$(find */tables */figures */notebooks report validation config.yaml -newer workflow.html -print -quit)" ]; \
	then \
	    cd $(CURDIR); snakemake --quiet all --configfile $(CONFIG) --report $(RESULTS)/workflow.html; \
	fi

results: demo ## Copy the results of a finished run to the documentation, docs/results/NAME.md (CONFIG=config/demo.yaml).
	@results=$(RESULTS); cp $$results/report/results.md docs/results/$$(basename $$results).md

picture: checked ## Copy the picture of one forecast of a finished run to the documentation (CONFIG=config/hippocampus.yaml).
	snakemake $(RESULTS)/cross_session/figures/example.png --cores $(CORES) --configfile $(CONFIG)
	cp $(RESULTS)/cross_session/figures/example.png docs/forecast.png

review: checked ## Make every table, figure and page from a score archive only (SCORES=scores.tar CONFIG=...).
	snakemake restore_scores --cores $(CORES) --configfile $(CONFIG) --workflow-profile profiles/review
	snakemake figures --cores $(CORES) --configfile $(CONFIG) --workflow-profile profiles/review
	snakemake figures --configfile $(CONFIG) --workflow-profile profiles/review --report $(RESULTS)/workflow.html

check: lint .venv/ready ## Lint, then run the fast tests on two cores.
	OMP_NUM_THREADS=1 .venv-test/bin/python -m pytest $(WORKERS) -m "not slow"

test: .venv/ready $(if $(TESTS),.venv-test/ready,lint) ## Lint, then run all tests (TESTS="-k name" for a selection).
	OMP_NUM_THREADS=1 .venv-test/bin/python -m pytest $(if $(TESTS),$(TESTS),$(WORKERS))

lint: .venv-test/ready ## Check style, format, imports, types, spelling and wording.
	.venv-test/bin/ruff check .
	.venv-test/bin/ruff format --check .
	PATH=.venv-test/bin:$$PATH snakefmt --check Snakefile workflow/Snakefile rules
	.venv-test/bin/lint-imports
	.venv-test/bin/mypy
	.venv-test/bin/codespell
	.venv-test/bin/python tools/wording.py

test-wheel: .venv/ready ## Build the wheel, install it with its extras in a new environment, and test forecasts from Python.
	.venv/bin/python tools/wheel.py

slurm: .venv-slurm/ready ## Make the environment that runs the workflow on a cluster with Slurm (docs/clusters.md).

test-slurm: .venv/ready .venv-test/ready .venv-slurm/ready ## Install Slurm here (Debian, root), run a small workflow on it, and disturb it.
	NEUROHORIZON_SLURM=1 OMP_NUM_THREADS=1 .venv-test/bin/python -m pytest tests/slurm $(TESTS)

test-bucket: .venv/ready .venv-test/ready .venv-bucket/ready ## Run a small workflow on machines that share only a bucket of a local S3 server.
	NEUROHORIZON_BUCKET=1 OMP_NUM_THREADS=1 .venv-test/bin/python -m pytest tests/bucket $(TESTS)

chaos: .venv/ready .venv-test/ready ## Kill a small run on purpose, fill its disk and damage its files; write docs/reliability.md (CHAOS="--seed 1").
	PYTHONPATH=.:tests OMP_NUM_THREADS=1 .venv-test/bin/python tools/chaos.py $(CHAOS)

kubernetes: .venv-kubernetes/ready ## Make the environment that runs the workflow on Kubernetes.

bench: .venv-test/ready ## Time our code against other packages and print ratios (BENCH="--only loader" for a selection).
	PYTHONPATH=.:tests OMP_NUM_THREADS=1 .venv-test/bin/python benchmarks/bench.py $(BENCH)

audit: checked ## Compare our scores with those of the IBL Brain-Wide Bench's own scorer (downloads 4 GB).
	snakemake audit --cores $(CORES) --configfile $(CONFIG)
	@cat $(RESULTS)/audit/summary.txt

cohorts: .venv/ready ## Build the paper's cohort table (IBL_TABLE=... ALLEN_TABLE=... use release tables on disk).
	snakemake --cores $(CORES) cohorts

schema: .venv/ready ## Export the schema of the configuration, for editors.
	.venv/bin/python -c "import json; from neurohorizon.config import Config; \
	    print(json.dumps(Config.model_json_schema(), indent=1))" > config/schema.json
	.venv/bin/python -c "import json; from neurohorizon.config import short_schema; \
	    print(json.dumps(short_schema(), indent=1))" > config/schema_short.json

graph: .venv/ready ## Draw the rule graph in docs from the current workflow.
	.venv/bin/python workflow/rule_graph.py

checks: .venv-test/ready ## Write the page of all checks of a session, docs/checks.md.
	.venv-test/bin/python tools/checks_page.py

docs: .venv-docs/ready ## Build the documentation site, build/docs/html; its notebooks are run.
	.venv-docs/bin/python tools/docs_site.py

lock: .venv/ready ## Resolve envs/*.in to exact pins again.
	.venv/bin/python envs/lock.py

clean: ## Delete the environments of make; keep results and the environments of rules.
	rm -rf .venv .venv-test .venv-forecast .venv-slurm .venv-kubernetes .venv-bucket .venv-docs

# Each is rebuilt when its pins change.
.venv/ready: envs/workflow.txt tools/conda-standin/bin/conda
	$(PYTHON) -m venv --clear .venv
	.venv/bin/python -m pip install --quiet "$$(grep '^uv==' $<)"
	.venv/bin/uv pip sync --quiet --python .venv/bin/python $<
	ln -sf ../../tools/conda-standin/bin/conda .venv/bin/conda
	touch $@

.venv-test/ready: envs/test.txt | .venv/ready
	.venv/bin/uv venv --quiet --clear --python $(PYTHON) .venv-test
	.venv/bin/uv pip sync --quiet --python .venv-test/bin/python $<
	touch $@

# environments that run the workflow elsewhere: .venv-slurm, .venv-kubernetes, .venv-bucket
.venv-slurm/ready .venv-kubernetes/ready .venv-bucket/ready: .venv-%/ready: envs/%.txt | .venv/ready
	.venv/bin/uv venv --quiet --clear --python $(PYTHON) .venv-$*
	.venv/bin/uv pip sync --quiet --python .venv-$*/bin/python $<
	ln -sf ../../tools/conda-standin/bin/conda .venv-$*/bin/conda
	touch $@

.venv-docs/ready: envs/docs.txt | .venv/ready
	.venv/bin/uv venv --quiet --clear --python $(PYTHON) .venv-docs
	.venv/bin/uv pip sync --quiet --python .venv-docs/bin/python $<
	touch $@

# the package, and what a forecast needs; no other environment
.venv-forecast/ready: envs/forecast.txt pyproject.toml
	@echo "making the environment of forecasts, once"
	$(PYTHON) -m venv --clear .venv-forecast
	.venv-forecast/bin/python -m pip install --quiet "$$(grep '^uv==' envs/workflow.txt)"
	.venv-forecast/bin/uv pip install --quiet --python .venv-forecast/bin/python \
	    --requirement $< --editable .
	touch $@
