"""ODISE: names the masks of a trained mask generator by diffusion features and by CLIP. The second engine.

Xu et al., "Open-Vocabulary Panoptic Segmentation with Text-to-Image Diffusion Models", CVPR 2023. The specification's
sections are C.1 to C.6.
"""
