"""What is missing from a vocabulary: regions that show none of its words, grouped over many images.

:mod:`ovdiff.novelties.finder` finds the regions of one image, :mod:`ovdiff.novelties.groups` groups those of a folder.
"""
