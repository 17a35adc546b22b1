"""The generation of support images and their attribution maps from texts (A.1, A.2)."""
