"""Operating system settings of the transports: the number of sockets, and TCP keep-alive."""

from __future__ import annotations

import socket
import sys
from typing import Final

from ..errors import InvalidRequestError

_MAX_CONNECTIONS: Final = 1000
_SPARE_DESCRIPTORS: Final = 64
"""Reserved for the rest of the process: files, log handlers, the credential chain, the event loop's own pipes."""

_PROBE_INTERVAL_S: Final = 15
_PROBES: Final = 4


def soft_descriptor_limit() -> int | None:
    """Return the process's soft limit of open files, or None if there is none."""
    if sys.platform == "win32":
        return None
    import resource

    soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if soft == resource.RLIM_INFINITY else soft


def default_max_connections() -> int:
    """Return the default pool size: 1,000, or 64 less than the limit of open files if that is smaller."""
    limit = soft_descriptor_limit()
    return _MAX_CONNECTIONS if limit is None else max(1, min(_MAX_CONNECTIONS, limit - _SPARE_DESCRIPTORS))


def pool_size(max_connections: int | None) -> int:
    """Return the pool size for ``max_connections``; None selects the default.

    Raises InvalidRequestError for less than one, with which every request would wait forever.
    """
    if max_connections is None:
        return default_max_connections()
    if max_connections < 1:
        raise InvalidRequestError(
            f"max_connections is {max_connections}; at least 1 is needed.", path="max_connections"
        )
    return max_connections


def keepalive_options(idle_s: int) -> tuple[tuple[int, int, int], ...]:
    """Return ``setsockopt`` arguments that probe a connection after ``idle_s`` seconds of silence.

    NAT gateways and network load balancers drop a connection after 350 seconds of silence without telling either side,
    and a model may think for longer. A peer that answers no probe is given up 60 s after the first one.
    """
    options = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]
    # macOS has another name for the same option; Windows before 10 1709 has none of them.
    idle = getattr(socket, "TCP_KEEPIDLE", None) or getattr(socket, "TCP_KEEPALIVE", None)
    for option, value in (
        (idle, idle_s),
        (getattr(socket, "TCP_KEEPINTVL", None), _PROBE_INTERVAL_S),
        (getattr(socket, "TCP_KEEPCNT", None), _PROBES),
    ):
        if option is not None:
            options.append((socket.IPPROTO_TCP, option, value))
    return tuple(options)
