"""Learning from corrections, without training: an annotated image becomes a lesson.

::

    image, annotation ── encode, predict without lessons ──> rows of each extractor, crops for CLIP ──> Lesson ──> store
"""
