"""From zero to trained, `make demo-loop`: what corrected tasks are worth to lessons and to trained heads.

:mod:`backend.demo.loop.run` is the command. A simulated annotator (:mod:`~backend.demo.loop.annotator`) corrects tasks
through Label Studio's API; after 8, 16, 32 and 64 of them the first engine takes lessons from the export and heads of
the second engine are trained from it (:mod:`~backend.demo.loop.heads`). Both predict tasks that nobody corrected, which
are compared with the truth (:mod:`~backend.demo.loop.scores`), and a table says what came of it
(:mod:`~backend.demo.loop.table`).
"""
