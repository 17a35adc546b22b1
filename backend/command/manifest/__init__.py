"""`ovdiff segment --manifest`: images by the rows of a file or of a project, results in shards; never all in memory.

reading   a file, a folder of files or a project  -> rows as they are written, numbered from 1
rows      a row as it is written                  -> a `Row` that can be segmented, or a `BadRow` that says why not
seen      ids and addresses that came before      -> on the disk
image_identity  an address                        -> what it names, whoever signed it; the image's name in results
images    a row                                   -> the bytes of its image
making    a row and its image                     -> an entry and annotations; a shard of them
working   rows and what makes them, elsewhere or here -> results in the order of the rows
shards    segmented rows, N at a time             -> whole files, here or at an address; those of an earlier run
run       all of this in order
importing new tasks of a project, of rows         -> in Label Studio (`ovdiff prelabel --manifest`)
"""
