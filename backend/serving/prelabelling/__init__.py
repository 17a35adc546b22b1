"""Predictions for all tasks of a project, stored in Label Studio."""
