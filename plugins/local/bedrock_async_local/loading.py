"""Loading what takes long: once, in a thread, at the first request for it, for all who ask."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Final, Generic, Protocol, TypeVar

import anyio

from bedrock_async.errors import PluginError, service_error

from .server import closed

__all__ = ["Loaded", "Loader"]

_CLOSE_S: Final = 10.0


class Loaded(Protocol):
    """What a `Loader` loads."""

    async def aclose(self) -> None:
        """Stop everything and free the memory. Idempotent."""
        ...


L = TypeVar("L", bound=Loaded)


class Loader(Generic[L]):
    """Loads with ``load``, which gets the event that tells it to stop; or holds ``ready``, which needs no loading."""

    def __init__(self, load: Callable[[threading.Event], L], ready: L | None = None) -> None:
        self._load = load
        self._lock = threading.Lock()
        self._future: Future[L] | None = None
        self._stop = threading.Event()
        if ready is not None:
            self._future = Future()
            self._future.set_result(ready)

    async def get(self) -> L:
        """Return what is loaded, loading it first if need be. Raises PluginError; the next call then tries again.

        Cancelling leaves the work going on in its thread, for the next caller; `aclose` stops it.
        """
        if self._stop.is_set():
            raise closed()
        with self._lock:
            future = self._future
            if future is None or (future.done() and future.exception() is not None):
                future = self._future = Future()
                future.set_running_or_notify_cancel()  # so that no waiter can cancel it for the others
                # A daemon: a program that ends without aclose must not wait for a download.
                threading.Thread(target=self._run, args=(future,), name="bedrock-async-local-load", daemon=True).start()
        return await asyncio.wrap_future(future)

    async def served(self) -> L:
        """Return what is loaded, for a request. Raises ServiceError."""
        try:
            return await self.get()
        except PluginError as exc:
            # A code that no client retries by itself: every attempt would be another download.
            raise service_error("ResourceNotFoundException", f"The local model could not be loaded: {exc}") from exc

    async def aclose(self) -> None:
        """Stop loading, or close what is loaded. Idempotent; nothing is loaded afterwards."""
        self._stop.set()
        with self._lock:
            future = self._future
        if future is None:
            return
        with anyio.move_on_after(_CLOSE_S, shield=True):
            try:
                loaded = await asyncio.wrap_future(future)
            except Exception:  # noqa: BLE001 - loading failed, and those who asked for it know why
                return
            await loaded.aclose()

    def _run(self, future: Future[L]) -> None:
        try:
            future.set_result(self._load(self._stop))
        except BaseException as exc:  # noqa: BLE001 - it belongs to those who wait for the future
            future.set_exception(exc)
