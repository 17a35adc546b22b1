"""Lessons in the scores: what people annotated says which features belong to what, beside the prototypes.

Cells of annotated images, and the foreground prototypes of the vocabulary as one more example, teach a discriminant for
each extractor. Its groups are background, all things together, and each kind of stuff; anchors are words among them,
and the other words that lessons know are groups of the background. Features of a few pixels tell these apart well, and
badly which thing it is. That is left to the part check, which learns from crops of annotated things as they look to
CLIP; and which things an image holds, for the prefilter and for scores, is learned from whole annotated images. What
the discriminant says competes with the votes of the prototypes::

    l_g(p)   = mean over extractors and windows of  max(log p(g | features(p)), -12)
    score_c(p)  <-  s*(p) + r_c(p) - max over d of r_d(p),    r_c(p) = score_c(p) + w l_group(c)(p)

over all classes c, d whose group an example shows; s* is the largest of their scores before. So the best score stays as
it is, and a class that nobody has taught anything about keeps its chances. ``w = weight * n / (n + caution)`` for n
lessons. An extractor whose discriminant makes left-out images worse is not used.

Segmenting costs the same however many lessons there are, because they are merged into one direction for each group.

::

    examples       what a lesson shows: cells of each extractor, crops and the whole image for CLIP
    discriminant   linear discriminant analysis, with examples left out
    model          all lessons of a vocabulary, fitted and tried on left-out images
    scores         what the model says of an encoded image, beside the votes of the prototypes
    in_force       which lessons count, and the last models that were made of them
"""
