"""Models: where their weights are, how the weights are read, and how much of a device's memory the models may take."""
