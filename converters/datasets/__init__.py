"""The formats of datasets: how records are written in each format, and how they are read back."""
