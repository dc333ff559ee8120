"""Sees when code of the package holds up an event loop: by computing for too long, or by a call that blocks.

Nothing is patched and no loop is disturbed. A thread looks at the stacks of the others fifty times a second, and adds
up the processor time that passes while one callback of a loop stays in one and the same call of ours: what else the
machine is busy with does not count. An audit hook sees calls that block without computing.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
import time
import traceback
from asyncio.events import Handle
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from ipaddress import ip_address
from pathlib import Path
from types import FrameType
from typing import Final

PACKAGE: Final = Path(__file__).parent.parent / "bedrock_async"
NOT_FOR_LOOPS: Final = (PACKAGE / "testing", PACKAGE / "cli")
"""The emulator and the command may take their time."""

LIMIT_S: Final = 0.2
EVERY_S: Final = 0.02
BLOCKING: Final = frozenset({"socket.getaddrinfo", "subprocess.Popen", "time.sleep"})

_RUN: Final = Handle._run.__code__
_IMPORTING: Final = "<frozen importlib._bootstrap>"


@cache
def is_of_package(file: str) -> bool:
    """Whether a file is code that runs on the loops of users."""
    path = Path(file)
    return path.is_relative_to(PACKAGE) and not any(path.is_relative_to(folder) for folder in NOT_FOR_LOOPS)


@dataclass(slots=True)
class _Held:
    """A call of ours in one callback of a loop, and what it has used since it was seen first."""

    callback: int
    call: int
    cpu_s: float
    frames: tuple[FrameType, FrameType] | None = None
    """Kept once the call is suspicious: before that they would keep alive what tests expect to be freed."""
    told: bool = False


@dataclass(slots=True)
class LoopWatch:
    """Watches all threads from `start` to `stop`. ``blocked`` says what held up a loop."""

    limit_s: float = LIMIT_S
    is_ours: Callable[[str], bool] = is_of_package
    blocked: list[str] = field(default_factory=list[str])
    _held: dict[int, _Held] = field(default_factory=dict[int, _Held])
    _collecting: dict[int, float] = field(default_factory=dict[int, float])
    """When the collector began in a thread, in the processor time of that thread."""
    _collected: dict[int, float] = field(default_factory=dict[int, float])
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin. Where the system does not tell the processor time of threads, nothing is seen."""
        if hasattr(time, "pthread_getcpuclockid"):
            gc.callbacks.append(self._collector)
            self._thread = threading.Thread(target=self._watch, name="loop-watch", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """End."""
        if self._thread is not None:
            self._stop.set()
            self._thread.join()
            gc.callbacks.remove(self._collector)

    def audit(self, event: str, args: tuple[object, ...]) -> None:
        """Take note of a call that blocks, made by our code on a loop; an audit hook."""
        if event in BLOCKING and asyncio._get_running_loop() is not None and not _is_number(event, args):
            frame: FrameType | None = sys._getframe(1)
            if self._call_of_ours(frame) is not None:
                self.blocked.append(f"{event}{args[:1]} on the loop:\n{_stack(frame)}")

    def _watch(self) -> None:
        while not self._stop.wait(EVERY_S):
            self.look()

    def look(self) -> None:
        """Look at the stack of every other thread, once."""
        own = threading.get_ident()
        for thread, frame in sys._current_frames().items():
            if thread != own:
                self._look_at(thread, frame)

    def _look_at(self, thread: int, leaf: FrameType) -> None:
        found = self._call_of_ours(leaf)
        if found is None:
            self._held.pop(thread, None)
            return
        callback, call = found
        held = self._held.get(thread)
        used_s = self._cpu_s(thread)
        same = held is not None and (held.callback, held.call) == (id(callback), id(call))
        if held is None or not same or (held.frames is not None and held.frames != found):
            self._held[thread] = _Held(id(callback), id(call), used_s)
        elif held.frames is None:
            if used_s - held.cpu_s > self.limit_s / 2:
                # Half of the limit in what has the same address: from here on it must be the same call.
                held.frames, held.cpu_s = found, used_s
        elif used_s - held.cpu_s > self.limit_s / 2 and not held.told:
            held.told = True
            self.blocked.append(f"the loop was held up for {self.limit_s:g} s:\n{_stack(leaf)}")

    def _call_of_ours(self, frame: FrameType | None) -> tuple[FrameType, FrameType] | None:
        """Return the callback of the loop, and the outermost call of ours in it; None for imports, which come once."""
        ours: FrameType | None = None
        while frame is not None:
            code = frame.f_code
            if code is _RUN:
                return None if ours is None else (frame, ours)
            if code.co_filename == _IMPORTING:
                return None
            if self.is_ours(code.co_filename):
                ours = frame
            frame = frame.f_back
        return None

    def _cpu_s(self, thread: int) -> float:
        """Return the processor time of a thread, but for that of the collector, which runs wherever it likes."""
        try:
            used_s = time.clock_gettime(time.pthread_getcpuclockid(thread))
        except OSError:  # it has ended
            return 0.0
        return used_s - self._collected.get(thread, 0.0)

    def _collector(self, phase: str, _info: dict[str, int]) -> None:
        thread, now = threading.get_ident(), time.thread_time()
        if phase == "start":
            self._collecting[thread] = now
        else:
            began = self._collecting.pop(thread, now)
            self._collected[thread] = self._collected.get(thread, 0.0) + now - began


def _is_number(event: str, args: tuple[object, ...]) -> bool:
    """Whether an address is looked up that needs no looking up."""
    if event != "socket.getaddrinfo" or not args[0]:
        return False
    try:
        ip_address(str(args[0]))
    except ValueError:
        return False
    return True


def _stack(frame: FrameType | None) -> str:
    return "".join(traceback.format_stack(frame, limit=12))
