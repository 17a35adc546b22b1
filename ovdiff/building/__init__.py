"""The left half of the walk: one category's phrases to its prototype set. It knows nothing of windows."""
