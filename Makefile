# Each target is one line over a Python script. Without make, type that line: python3 tools/tasks.py demo
# make demo ARGS="--minutes 3"   make test ARGS="-k derivation"   make demo PYTHON=python3.12
# make results ARGS="--clips data/obama data/macron"
PYTHON ?= python3
.DEFAULT_GOAL := help
.PHONY: help demo demo-offline test test-offline reliability lint format results gallery setup clean

help demo demo-offline test test-offline reliability lint format results gallery setup clean:
	@$(PYTHON) tools/tasks.py $@ $(ARGS)
