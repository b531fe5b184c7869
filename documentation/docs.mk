# Targets of the guide and its checks; the Makefile at the root includes this file.

DOCS_CHECK = documentation/check
DOCS_PYTHON = $$($(DOCS_CHECK)/environment.sh)/bin/python

.PHONY: docs docs-serve docs-copies docs-images test-docs

## Build the guide as a site in target/site.
docs: setup-docs
	$(DOCS_PYTHON) -m mkdocs build --strict

## Show the guide while you write it, on http://127.0.0.1:8000.
docs-serve: setup-docs
	$(DOCS_PYTHON) -m mkdocs serve

## Copy the example files into the blocks that show them.
docs-copies: setup-docs
	$(DOCS_PYTHON) $(DOCS_CHECK)/blocks.py --write

## Draw the pictures that are made from a source.
docs-images:
	python3 documentation/images/architecture.py

## The documents: site, links, spelling, every block of README and guide, every example.
test-docs: setup-docs
	$(DOCS_PYTHON) $(DOCS_CHECK)/run.py

.PHONY: setup-docs
setup-docs:
	@./install.sh --tools-only documentation
