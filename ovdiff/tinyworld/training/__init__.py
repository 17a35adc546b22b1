"""Training of the embedded models from nothing but the drawn world.

``make tinyworld`` runs all of it; each module's docstring gives its command, seed, and measured minutes.
"""
