"""The service: Label Studio's machine-learning protocol in front of the method.

The service turns a label config into a vocabulary, has prototypes made in the background, fetches the images of tasks,
asks the engine for masks, and answers with them as Label Studio regions. Only `backend.settings` reads the environment.

The command `ovdiff` (`backend.command`) does the same for files, and `backend.demo` shows all of it in a real Label
Studio.
"""

__version__ = "0.1.0"
