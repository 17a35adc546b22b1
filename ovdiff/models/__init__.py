"""Loaded models: where their weights are, how they are read, on which device, and in how much of its memory."""
