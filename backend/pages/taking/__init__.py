"""Prompts that were tried are taken: written into the label config in Label Studio, shown before, and undone."""
