"""The service as a process: it listens, and ends when it is told to."""

from __future__ import annotations

import logging
import os
import signal
import threading
from contextlib import suppress

from flask import Flask

from backend.errors import ListenError
from backend.serving.heap import freed_memory_given_back
from backend.serving.http.app import AddRoutes, create_app
from backend.serving.http.bodies import kept_bytes
from backend.serving.http.connections import Listener
from backend.settings import ServerSettings, Settings

logger = logging.getLogger(__name__)


def serve(settings: Settings, *, add_pages: AddRoutes | None = None) -> None:
    """Answer requests until Ctrl-C or SIGTERM ends the service.

    Args:
        settings: see `backend.settings`.
        add_pages: see `create_app`.

    Raises:
        ListenError: the address or port is taken or not allowed.
    """
    # SIGTERM: as the first process of a container nothing would end the service, because the kernel keeps the default
    # of SIGTERM from process 1. SIGINT: a shell script starts its background jobs with SIGINT ignored; a Ctrl-C would
    # end the script and leave the service. SIGHUP keeps what the service was started with: a closed terminal ends it,
    # which loses nothing because files are written whole or not at all; and who uses nohup wants it to go on.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.default_int_handler)
    with freed_memory_given_back():
        app = create_app(settings, add_pages=add_pages)
        try:
            listener = listen(app, settings.server)
            with suppress(KeyboardInterrupt):  # which may come before `run` is there to take it
                logger.info("Listening on %s, data in %s.", " and ".join(listener.urls), settings.data_dir)
                listener.run()
        finally:
            app.extensions["ovdiff"].stop()
    _end_despite_busy_threads()


def listen(app: Flask, settings: ServerSettings) -> Listener:
    """Return a server that is bound to its port; `run` it.

    Raises:
        ListenError: the address or port is taken or not allowed.
    """
    try:
        return Listener(app, settings, kept_bytes(settings))
    except (OSError, ValueError) as error:
        address = f"{settings.host}:{settings.port}"
        raise ListenError(f"Cannot listen on {address} (OVDIFF_HOST, OVDIFF_PORT): {error}.") from error


def _end_despite_busy_threads() -> None:
    """End the process at once if a thread is still inside a model: Python's own shutdown would unload torch and abort.

    Nothing is lost: prototypes and the state file are written whole or not at all.
    """
    if any(thread is not threading.main_thread() for thread in threading.enumerate()):
        logging.shutdown()
        os._exit(0)
