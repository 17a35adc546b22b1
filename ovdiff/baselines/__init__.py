"""Baselines: published methods to lay beside OVDiff, each an engine of its own; and SAM, an upper line for masks.

The methods are others' work, written anew from their papers and released code. `docs/baselines.md` says what each is
good for.
"""
