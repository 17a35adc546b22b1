"""Masks into each encoding and back: pure functions on arrays, one module a format, each with its mirror."""
