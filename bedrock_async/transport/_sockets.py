"""What the transports ask of the operating system: how many sockets, and that idle ones are probed."""

from __future__ import annotations

import socket
import sys
from typing import Final

from ..errors import InvalidRequestError

_MAX_CONNECTIONS: Final = 1000
_SPARE_DESCRIPTORS: Final = 64
"""Left to the rest of the process: files, log handlers, the credential chain, the loop's own pipes."""

_PROBE_INTERVAL_S: Final = 15
_PROBES: Final = 4


def soft_descriptor_limit() -> int | None:
    """Return the process's soft limit of open files, None where there is none."""
    if sys.platform == "win32":
        return None
    import resource

    soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if soft == resource.RLIM_INFINITY else soft


def default_max_connections() -> int:
    """Return how many connections a transport may hold: 1,000, or 64 less than the open files allowed."""
    limit = soft_descriptor_limit()
    return _MAX_CONNECTIONS if limit is None else max(1, min(_MAX_CONNECTIONS, limit - _SPARE_DESCRIPTORS))


def pool_size(max_connections: int | None) -> int:
    """Return how many connections a pool may hold, when that many are asked for; None asks for the default.

    Raises InvalidRequestError for less than one, with which every request would wait for ever.
    """
    if max_connections is None:
        return default_max_connections()
    if max_connections < 1:
        raise InvalidRequestError(
            f"max_connections is {max_connections}; at least 1 is needed.", path="max_connections"
        )
    return max_connections


def keepalive_options(idle_s: int) -> tuple[tuple[int, int, int], ...]:
    """Return the ``setsockopt`` arguments that probe a connection after ``idle_s`` silent seconds.

    NAT gateways and network load balancers forget a connection after 350 silent seconds, without a word to either
    side; a model may think for longer. A peer that answers no probe is given up 60 s after the first.
    """
    options = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]
    # The same option has another name on macOS; Windows before 10 1709 has none of them.
    idle = getattr(socket, "TCP_KEEPIDLE", None) or getattr(socket, "TCP_KEEPALIVE", None)
    for option, value in (
        (idle, idle_s),
        (getattr(socket, "TCP_KEEPINTVL", None), _PROBE_INTERVAL_S),
        (getattr(socket, "TCP_KEEPCNT", None), _PROBES),
    ):
        if option is not None:
            options.append((socket.IPPROTO_TCP, option, value))
    return tuple(options)
