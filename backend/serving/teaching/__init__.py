"""Annotations become lessons: those of an export by a command, and those of connected projects by the service."""
