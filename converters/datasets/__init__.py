"""The formats of datasets, one module each, both ways."""
