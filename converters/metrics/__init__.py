"""Measures of masks against true masks: pure functions and sums on label maps, segments and scores."""
