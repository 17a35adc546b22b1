"""`ovdiff segment --manifest`: images by the rows of a file or of a project, results in shards; never all in memory.

reading   a file, a folder of files or a project  -> rows as they are written, numbered from 1
rows      a row as it is written                  -> a `Row` that can be segmented, or a `BadRow` that says why not
images    a row                                   -> the bytes of its image
shards    segmented rows, N at a time             -> whole files, here or at an address; those of an earlier run
run       all of this in order
"""
