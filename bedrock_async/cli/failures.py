"""How a command fails: a message and a hint on stderr, an exit status, and a traceback only on request."""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

import typer

from ..errors import BedrockError
from .console import show_error

__all__ = ["FAILED", "INTERRUPTED", "reporting"]

FAILED: Final = 1
INTERRUPTED: Final = 130
"""The exit status that shells report after SIGINT: 128 + 2."""


@contextmanager
def reporting(*, debug: bool) -> Generator[None]:
    """Convert exceptions of the body to the exit of the command: status 1 for our errors, 130 for Ctrl-C.

    With ``debug``, the traceback and the log are also shown. Any other exception is a bug, and propagates.
    """
    with _logging(debug=debug):
        try:
            yield
        except BedrockError as exc:
            if debug:
                traceback.print_exc()
            show_error(exc)
            raise typer.Exit(FAILED) from exc
        except KeyboardInterrupt as exc:
            raise typer.Exit(INTERRUPTED) from exc


@contextmanager
def _logging(*, debug: bool) -> Generator[None]:
    """Show our own log, or nothing: without a handler, logging would write warnings and tracebacks to stderr."""
    # Only ours, because botocore's debug log contains the responses of credential services.
    logger = logging.getLogger("bedrock_async")
    handler = logging.StreamHandler(sys.stderr) if debug else logging.NullHandler()
    level = logger.level
    logger.addHandler(handler)
    if debug:
        logger.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        logger.setLevel(level)
        logger.removeHandler(handler)
