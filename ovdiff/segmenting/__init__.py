"""The right half of the walk: one image and a vocabulary's prototypes to masks. It knows nothing of generators."""
