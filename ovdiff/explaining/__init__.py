"""Why a place has its label (section 4.4 of the paper, made useful): votes, the prototypes behind them, later steps.

A place is a pixel or a mask of the image. Each extractor votes in each window that holds the place, for each class c::

    vote_v(c)  = sum over cells q of the window of  a_v(q) * max over P in P(c) of cos(features(q), P)  /  weight_v
    weight_v   = sum over cells q of  a_v(q),                     so that the weights of all votes sum to 1
    score_c    = sum over votes v of  weight_v * vote_v(c)        the score map at the place, before PAMR

``a_v(q)`` is how much cell q counts for the place. Maps are enlarged to windows and to the image bilinearly, so a pixel
hears about four cells of each window; the maximum is taken in each cell before that. Nothing is estimated: cosines and
nearest prototypes come from the function that segments, and ``a_v`` is the transpose of the function that enlarges.
What comes after the votes (lessons, PAMR, part check, clean-up) is told as scores and labels before and after.

The room stands above both halves of the method, because a vote is of the half that segments, and the support images
behind a prototype are of the half that builds. Segmenting alone pays nothing for it.
"""
