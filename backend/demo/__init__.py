"""The demo: a real Label Studio project pre-labelled by the real backend on the embedded tiny world.

``make demo`` runs :mod:`backend.demo.run` for a person, and ``make demo-check`` runs :mod:`backend.demo.check` for a
machine. Both start the same two servers (:mod:`backend.demo.session`), make the same projects
(:mod:`backend.demo.project`, :mod:`backend.demo.few_words`) and leave no process running
(:mod:`backend.demo.processes`).
"""
