"""A task's page: its image with the masks that the service predicts, and the evidence for a place of it."""
