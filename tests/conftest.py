"""What holds for every test: no network but loopback, none of the machine's AWS settings, the same examples in CI."""

from __future__ import annotations

import gc
import ipaddress
import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final, cast

import pytest
from hypothesis import settings
from loop_watch import LoopWatch

# CI tries the same examples at every run, so that a failure is the change's; elsewhere each run tries new ones.
# There is no deadline per example: the machines that run this are shared.
settings.register_profile("dev", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "dev")

_PROXIES: Final = frozenset({"ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY"})
# What libraries of the command line read when they are imported: whether the runner shows colours, and how wide it is.
_TERMINAL: Final = frozenset({"COLUMNS", "FORCE_COLOR", "GITHUB_ACTIONS", "NO_COLOR", "PY_COLORS", "TERMINAL_WIDTH"})
# Once for the whole run, and so for the tests of plugins, too, which have no fixtures of this file.
for _name in [*os.environ]:
    if _name.upper().startswith("AWS_") or _name.upper() in _PROXIES | _TERMINAL:
        del os.environ[_name]


def pytest_configure() -> None:
    """Let Ctrl-C be heard, here and in processes of tests: a shell ignores it in what it runs in the background."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_finish() -> None:
    """Leave what collecting has made out of every later collection of garbage, which some tests ask for."""
    gc.collect()
    gc.freeze()


_ADDRESSING: Final = frozenset({"socket.bind", "socket.connect", "socket.sendmsg", "socket.sendto"})
_RESOLVING: Final = frozenset({"socket.getaddrinfo", "socket.gethostbyaddr", "socket.gethostbyname"})


class NetworkRefusedError(RuntimeError):
    """A test tried to reach, or to listen on, something other than loopback."""


class LoopbackOnly:
    """An audit hook that refuses sockets beyond loopback, in every thread, before a packet leaves.

    It sees the interpreter's own socket events, so no library can pass it by and nothing is patched. Hooks cannot be
    removed: there is one for the whole run. What it refused is kept, for the code under test may swallow the error.
    Names under ``.invalid`` fail to resolve, as RFC 6761 promises, without a question to any resolver: tests of name
    resolution failures use them.
    """

    def __init__(self) -> None:
        self.refused: list[str] = []

    def __call__(self, event: str, args: tuple[object, ...]) -> None:
        """Raise NetworkRefusedError for an event of the module `socket` that goes beyond loopback."""
        if event in _ADDRESSING:
            sock, address = args[:2]
            internet = isinstance(sock, socket.socket) and sock.family in {socket.AF_INET, socket.AF_INET6}
            if internet and address is not None:  # None: the socket is connected already
                host = cast("tuple[str, int]", address)[0]
                if not _is_loopback(host):
                    self._refuse(f"{event} to {host}")
        elif event in _RESOLVING and args[0]:
            name = args[0]
            self._resolve(event, name.decode("ascii", "replace") if isinstance(name, bytes) else str(name))

    def _resolve(self, event: str, host: str) -> None:
        if host.rstrip(".").endswith(".invalid"):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        # Numbers are not looked up by anyone; `connect` and `bind` judge them.
        if not _is_address(host) and not _is_loopback(host):
            self._refuse(f"{event} of {host!r}")

    def _refuse(self, what: str) -> None:
        self.refused.append(what)
        raise NetworkRefusedError(
            f"{what}: tests use loopback only. Serve it on 127.0.0.1 (BedrockEmulator), and pass that as endpoint_url."
        )


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True


def _is_loopback(host: str) -> bool:
    if _is_address(host):
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    return host == "localhost" or host.endswith(".localhost")


_guard: Final = LoopbackOnly()
sys.addaudithook(_guard)

_watch: Final = LoopWatch()
_watch.start()
sys.addaudithook(_watch.audit)


@pytest.fixture(autouse=True)
def loopback_only() -> Iterator[LoopbackOnly]:
    """Fail a test that reached beyond loopback, even where the code under test swallowed the refusal."""
    _guard.refused.clear()
    yield _guard
    assert not _guard.refused, f"tests use loopback only, but there was {'; '.join(_guard.refused)}"


@pytest.fixture(autouse=True)
def loops_go_on() -> Iterator[LoopWatch]:
    """Fail a test in which code of the package held up an event loop, by computing or by a call that blocks."""
    _watch.blocked.clear()
    yield _watch
    blocked = _watch.blocked[:]
    assert not blocked, "\n".join(blocked)


@pytest.fixture(autouse=True)
def no_aws_settings(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Hide the machine's AWS files, too; return the empty home directory of the test."""
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("USERPROFILE", str(home))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(home / ".aws" / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(home / ".aws" / "credentials"))
    # Nobody asks the metadata service of the machine that runs the tests, unless the test serves one.
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    return home
