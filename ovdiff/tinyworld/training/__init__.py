"""The training of the embedded models, from the drawn world alone.

``make tinyworld`` runs all trainings. Each module's docstring gives its command, its ``PLAN`` gives the seed and the
number of steps, and ovdiff/tinyworld/README.md gives the measured minutes.
"""
