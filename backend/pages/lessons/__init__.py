"""Lessons on a page: what annotated images taught, switched and removed there; the learning curve; what comes next."""
