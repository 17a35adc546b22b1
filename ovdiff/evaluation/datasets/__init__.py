"""Labelled datasets, a file each: their categories, and how their folders are read."""
