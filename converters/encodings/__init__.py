"""Masks into each encoding and back: pure functions on arrays, one module for each format."""
