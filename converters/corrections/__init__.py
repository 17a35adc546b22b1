"""Corrections: annotations beside the predictions that they replaced, and measures of how good the predictions were."""
