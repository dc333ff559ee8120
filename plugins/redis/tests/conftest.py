"""A Redis server of the tests' own."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start Debian's redis-server on a socket of its own; skip where it is not installed."""
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("there is no redis-server; on Debian: apt-get install redis-server")
    socket = tmp_path_factory.mktemp("redis") / "socket"
    with subprocess.Popen(
        [program, "--port", "0", "--unixsocket", socket, "--save", "", "--appendonly", "no", "--daemonize", "no"],
        stdout=subprocess.PIPE,
        cwd=socket.parent,
    ) as server:
        assert server.stdout is not None
        for line in server.stdout:
            if b"eady to accept connections" in line:
                break
        try:
            yield f"unix://{socket}"
        finally:
            server.terminate()
            server.stdout.read()


@pytest.fixture
def fresh(redis_url: str) -> Iterator[Any]:
    """Empty the server and return a client for looking into it."""
    client: Any = redis.Redis.from_url(redis_url, decode_responses=True)  # pyright: ignore[reportUnknownMemberType]
    with client:
        client.flushall()
        yield client


@pytest.fixture
def readme() -> Path:
    """The README of the plugin."""
    return Path(__file__).parent.parent / "README.md"
