# The outside suites (docs/conformance.md). RESULTS keeps one file per item, so that a run that was broken off goes on.
PYTHON ?= .venv/bin/python
RESULTS ?= /tmp/pyrr-conformance
SUITES = $(wildcard $(addprefix tests/conformance/,cpython.py rr_programs.py programs.py stress.py))

.PHONY: conformance
conformance:
	for suite in $(SUITES); do $(PYTHON) $$suite --results $(RESULTS); $(PYTHON) $$suite --results $(RESULTS) --render || exit 1; done
