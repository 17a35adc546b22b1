"""What a vocabulary will be good for, before anybody labels: forecasts from support images and prototypes alone.

Support images come with their masks, so they are images whose truth is known. Each is segmented with prototypes that
were made without it, so the result says how well the words are told apart on images that the method has not seen::

    own(c)       = share of the foreground pixels of c's held-out images that become c
    confused(a, b) = mean of: share of a's foreground pixels that become b, share of b's that become a
    risk(a, b)   = mean rank, among all pairs, of three witnesses of a confusion:
                   pixels      softmax share of b in a's foreground by Eq. 4 alone, and of a in b's
                   CLIP        mean log share of b's words for crops of a's foreground, and of a's for b's
                   neighbours  share of b in the surroundings of a's foreground, and of a in b's
    IoU(c)       = 0.59 + 0.31 * own(c) + 0.054 * ln(share of the image that c's foreground covers), stuff: 1

``confused`` is a measurement on support images. ``risk`` orders the pairs by what to expect in real images: two words
are confused where their pixels are alike, where CLIP hesitates, or where one lies beside the other. The weights of the
expected IoU were fitted on the drawn world; with other presets it orders the categories, and its size is rough.

Neither the paper nor the released code has forecasts. The halves of the method never import this room.
"""
