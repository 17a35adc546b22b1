"""The same functions on many machines: Ray, as a pool that takes work as every executor of Python does.

::

    evaluate, segment, build          one call an image, or one a category
            |  converters.workers     in_order, as_done: so many calls under way, and no more
            v
    concurrent.futures.Executor       this process's pool of processes, or ...
            |
    pool.RayPool                      ... actors on a Ray cluster, which load the models once each

Nothing here knows what the functions compute, and importing this room imports no ray.
"""
