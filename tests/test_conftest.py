"""The guards that conftest.py puts around every test do guard."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

import pytest
from hypothesis import given
from hypothesis import strategies as st


class Guard(Protocol):
    """What these tests need of the guard."""

    refused: list[str]


@pytest.mark.parametrize("address", ["192.0.2.1", "169.254.169.254", "10.0.0.1"])
def test_a_connection_beyond_loopback_is_refused(loopback_only: Guard, address: str) -> None:
    """No connection leaves the machine, whatever the address: the error says what to do instead."""
    with socket.socket() as client, pytest.raises(RuntimeError, match="tests use loopback only"):
        client.connect((address, 80))
    assert loopback_only.refused == [f"socket.connect to {address}"]
    loopback_only.refused.clear()


def test_a_look_up_is_refused_in_a_thread(loopback_only: Guard) -> None:
    """A name is not resolved, in any thread."""
    with ThreadPoolExecutor(1) as threads, pytest.raises(RuntimeError, match="bedrock-runtime"):
        threads.submit(socket.getaddrinfo, "bedrock-runtime.us-east-1.amazonaws.com", 443).result()
    assert len(loopback_only.refused) == 1
    loopback_only.refused.clear()


async def test_a_look_up_is_refused_on_a_loop(loopback_only: Guard) -> None:
    """An event loop's connection beyond loopback is refused as any other."""
    with pytest.raises(RuntimeError, match="tests use loopback only"):
        await asyncio.open_connection("example.com", 80)
    assert len(loopback_only.refused) == 1
    loopback_only.refused.clear()


def test_listening_on_every_interface_is_refused(loopback_only: Guard) -> None:
    """No test opens a port that others can reach."""
    with socket.socket() as server, pytest.raises(RuntimeError, match=r"socket\.bind to 0\.0\.0\.0"):
        server.bind(("0.0.0.0", 0))  # noqa: S104 - it is refused
    loopback_only.refused.clear()


def test_a_name_that_cannot_exist_does_not_resolve() -> None:
    """Names under .invalid fail as they do everywhere, and nobody is asked."""
    with pytest.raises(socket.gaierror):
        socket.getaddrinfo("bedrock.invalid", 443)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.0.0.2"])
def test_loopback_works(host: str) -> None:
    """Servers and clients on loopback are free to talk."""
    with socket.create_server((host, 0)) as server, socket.create_connection(server.getsockname()) as client:
        connection, _ = server.accept()
        with connection:
            client.sendall(b"hello")
            assert connection.recv(5) == b"hello"


def test_a_swallowed_refusal_still_fails_the_test(tmp_path: Path) -> None:
    """A test whose code hides the refusal fails when it ends."""
    for name in ("conftest.py", "loop_watch.py"):
        (tmp_path / name).write_text(Path(__file__).with_name(name).read_text())
    (tmp_path / "test_hidden.py").write_text(
        "import contextlib, socket\n"
        "def test_hidden():\n"
        "    with contextlib.suppress(Exception):\n"
        "        socket.getaddrinfo('example.com', 80)\n"
    )
    command = [sys.executable, "-m", "pytest", "--rootdir", str(tmp_path), "-c", os.devnull, "-p", "no:cacheprovider"]
    output = subprocess.run(command, cwd=tmp_path, check=False, capture_output=True, text=True).stdout
    assert "1 passed, 1 error" in output
    assert "tests use loopback only, but there was socket.getaddrinfo of 'example.com'" in output


def test_the_machine_has_no_aws_settings(no_aws_settings: Path) -> None:
    """Whoever runs the tests keeps their credentials: home and AWS files are those of the test."""
    assert Path.home() == no_aws_settings
    assert list(no_aws_settings.iterdir()) == []
    names = {name for name in os.environ if name.startswith("AWS_")}
    assert names == {"AWS_CONFIG_FILE", "AWS_EC2_METADATA_DISABLED", "AWS_SHARED_CREDENTIALS_FILE"}
    assert all(not Path(os.environ[name]).exists() for name in names - {"AWS_EC2_METADATA_DISABLED"})


@given(st.integers())
def test_property_tests_run_under_the_guards(number: int) -> None:
    """Hypothesis accepts the automatic fixtures, which are set up once for all examples of a test."""
    assert isinstance(number, int)
