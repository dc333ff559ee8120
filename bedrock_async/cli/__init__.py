"""The ``bedrock-async`` command. All modules except this one need typer and rich, from the extra ``cli``."""

from __future__ import annotations

import importlib.util
import io
import os
import sys
import threading
import time
from contextlib import suppress
from typing import Final, NoReturn, cast

__all__ = ["main"]

_INTERRUPTED: Final = 130  # the status that shells report after SIGINT: 128 + 2
_NEEDED: Final = ("typer", "rich")
_LAST_THREADS_S: Final = 0.5


def main() -> NoReturn:
    """Run the command line in ``sys.argv`` and end the process.

    The exit status is 0, 1 for a failure (described on stderr), 2 for wrong usage, 130 after Ctrl-C.
    """
    try:
        status = _run()
    except KeyboardInterrupt:  # during imports, before a command had begun
        status = _INTERRUPTED
    _leave(status)


def _run() -> int:
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        return _tell_missing(missing)
    from .app import app

    stdout: object = sys.stdout
    if isinstance(stdout, io.TextIOWrapper):
        # A model's text cannot always be encoded: never with lone surrogates, and often not in a terminal's code page.
        cast("io.TextIOWrapper", stdout).reconfigure(errors="replace")
    try:
        app(prog_name="bedrock-async")
    except SystemExit as exc:
        return exc.code if isinstance(exc.code, int) else int(exc.code is not None)
    return 0


def _tell_missing(names: list[str]) -> int:
    from ..errors import MissingExtraError

    error = MissingExtraError(
        f"the command line needs {' and '.join(names)}, which {'are' if len(names) > 1 else 'is'} not installed.",
        hint='pip install "bedrock-async[cli]"',
    )
    sys.stderr.write(f"error: {error.message}\nhint: {error.hint}\n")
    return 1


def _leave(status: int) -> NoReturn:
    """End the process, even if a thread is still stuck in a look-up or an unresponsive credential helper."""
    try:
        sys.stdout.flush()
    except OSError:  # the reader is gone; otherwise the interpreter would flush again and report an error
        status = status or 1
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    deadline = time.monotonic() + _LAST_THREADS_S
    others = [each for each in threading.enumerate() if each is not threading.main_thread() and not each.daemon]
    for thread in others:
        thread.join(max(0.0, deadline - time.monotonic()))
    if any(thread.is_alive() for thread in others):
        sys.stderr.flush()
        os._exit(status)
    sys.exit(status)
