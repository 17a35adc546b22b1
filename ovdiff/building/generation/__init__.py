"""Text to support images and their attribution maps (A.1, A.2)."""
