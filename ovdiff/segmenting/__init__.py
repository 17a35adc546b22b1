"""The segmenting half of the method: an image and a vocabulary's prototypes become masks. No generator runs here."""
