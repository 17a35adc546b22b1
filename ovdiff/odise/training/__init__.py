"""How a head learns: examples, their features on disk, losses, the loop and its checkpoints."""
