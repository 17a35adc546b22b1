"""The service: Label Studio's machine-learning protocol in front of the method.

It turns a label config into a vocabulary, has prototypes made in the background, fetches task images, asks
the engine for masks and writes them as Label Studio regions. Only `backend.settings` reads the environment.
"""

__version__ = "0.1.0"
