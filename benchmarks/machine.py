"""The machine: a core for the server and one for the client, open files, memory. Standard library only."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final, Literal

_STATM: Final = Path("/proc/self/statm")


def cores() -> tuple[int, int] | None:
    """Return the cores of client and server; None where processes cannot be pinned or there is only one core."""
    if not hasattr(os, "sched_getaffinity"):
        return None
    allowed = sorted(os.sched_getaffinity(0))
    return (allowed[0], allowed[1]) if len(allowed) > 1 else None


def pin(role: Literal["client", "server"]) -> None:
    """Keep this process on its core, where that is possible."""
    pair = cores()
    if pair is not None:
        os.sched_setaffinity(0, {pair[role == "server"]})


def raise_open_files() -> None:
    """Allow this process as many open files as it may have."""
    try:
        import resource
    except ImportError:  # Windows counts sockets otherwise
        return
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def resident_bytes() -> int | None:
    """Return the memory that this process occupies; None where the system does not tell."""
    try:
        pages = int(_STATM.read_text(encoding="ascii").split()[1])
    except OSError:
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")
