"""Stands in for detectron2 where it is not installed: of its public API what ovdiff.proposals.detectron2 uses.

Its one model calls "object" what is brighter than a weight of its, in the first channel and in the last.
"""
