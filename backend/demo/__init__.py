"""The demo: a real Label Studio project pre-labelled by the real backend on the embedded tiny world.

``make demo`` runs :mod:`backend.demo.run` for a person, ``make demo-check`` runs
:mod:`backend.demo.check` for a machine. Both start the same two servers, make the same project
(:mod:`backend.demo.project`) and leave nothing running (:mod:`backend.demo.processes`).
"""
