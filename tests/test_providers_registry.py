"""Finding providers: names, conflicts, versions, broken plugins. Plugins are real distributions on sys.path."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from textwrap import dedent
from typing import Any, TypeAlias

import pytest
from distributions import importable

from bedrock_async import PluginError
from bedrock_async.plugins import load_entry_point, origin
from bedrock_async.providers import INTERFACE_VERSION, Provider
from bedrock_async.providers.converse import ConverseProvider
from bedrock_async.providers.registry import GROUP, PROVIDERS, ProviderRegistry, check_provider

Install: TypeAlias = Callable[..., None]

GOOD = """
    from bedrock_async.providers import INTERFACE_VERSION

    class Provider:
        name = "echo"
        interface_version = INTERFACE_VERSION

        def converse(self, request, ctx):
            raise NotImplementedError

        def stream(self, request, ctx):
            raise NotImplementedError

    class Other(Provider):
        name = "other"
"""
OTHER = GOOD.replace('name = "echo"', 'name = "other"')


@pytest.fixture
def install(tmp_path: Path) -> Iterator[Install]:
    """Install distributions with entry points for this test: a module and its metadata in a folder of sys.path."""

    def add(distribution: str, source: str = GOOD, *, entry: str = "echo", version: str = "1.2", **more: str) -> None:
        module = f"{distribution.replace('-', '_')}_plugin"
        (tmp_path / f"{module}.py").write_text(dedent(source))
        info = tmp_path / f"{distribution.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
        entries = {entry: f"{module}:Provider"} | more
        lines = [f"{name} = {value}" for name, value in entries.items()]
        (info / "entry_points.txt").write_text("\n".join([f"[{GROUP}]", *lines]) + "\n")
        importlib.invalidate_caches()

    with importable(tmp_path):
        yield add


class Lent:
    """A provider that a test gives by hand, complete unless a test takes something away."""

    name = "lent"
    interface_version = INTERFACE_VERSION

    def converse(self, request: object, ctx: object) -> Any:  # noqa: ANN401 - never called
        """Is there."""

    def stream(self, request: object, ctx: object) -> Any:  # noqa: ANN401 - never called
        """Is there."""


def works(registry: ProviderRegistry, *names: str) -> None:
    """Hold the registry to giving the built-in provider and those of these names."""
    assert isinstance(registry.get("converse"), ConverseProvider)
    for name in names:
        assert registry.get(name).name == name


def test_the_built_in_provider_is_found_and_made_once() -> None:
    """Every look-up gives the same object."""
    registry = ProviderRegistry()
    assert isinstance(registry.get("converse"), ConverseProvider)
    assert registry.get("converse") is registry.get("converse")


def test_a_plugin_is_found_by_the_name_of_its_entry_point(install: Install) -> None:
    """Installed is enough; it is made once for each registry."""
    install("acme")
    registry = ProviderRegistry()
    provider = registry.get("echo")
    assert provider.name == "echo"
    assert registry.get("echo") is provider
    assert ProviderRegistry().get("echo") is not provider
    works(registry)


def test_a_plugin_is_imported_only_when_it_is_asked_for(install: Install) -> None:
    """Listing what is installed, and using another provider, imports nothing of a plugin."""
    install("acme")
    assert [point.name for point in PROVIDERS.installed()].count("echo") == 1
    works(ProviderRegistry())
    assert "acme_plugin" not in sys.modules
    ProviderRegistry().get("echo")
    assert "acme_plugin" in sys.modules


def test_everything_installed_is_listed_once_with_its_origin(install: Install) -> None:
    """Name, and the distribution with its version."""
    install("acme", version="3.4")
    listed = {point.name: origin(point) for point in PROVIDERS.installed()}
    assert listed["echo"] == "acme 3.4"
    assert listed["converse"].startswith("bedrock-async")
    names = [point.name for point in PROVIDERS.installed()]
    assert len(names) == len(set(names))


def test_a_provider_that_is_given_comes_first(install: Install) -> None:
    """Even under the name of one that is installed or built in."""
    install("acme")
    given = Lent()
    registry = ProviderRegistry({"echo": given, "converse": given})
    assert registry.get("echo") is given
    assert registry.get("converse") is given
    assert "acme_plugin" not in sys.modules


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("convers", "Did you mean 'converse'?"),
        ("ecco", "Did you mean 'echo'?"),
        ("zzz", "Install the plugin"),
        ("", "Install"),
    ],
)
def test_a_name_that_nobody_has_names_the_nearest(install: Install, name: str, says: str) -> None:
    """And lists what there is."""
    install("acme")
    registry = ProviderRegistry()
    with pytest.raises(PluginError, match=f"no provider '{name}'; installed: .*converse, echo") as caught:
        registry.get(name)
    assert says in str(caught.value)
    assert caught.value.distribution is None
    works(registry, "echo")


def test_two_distributions_of_one_name_are_a_conflict(install: Install) -> None:
    """Neither wins silently: the error names both, and the others go on working."""
    install("acme")
    install("zenith", version="9", other="zenith_plugin:Other")
    registry = ProviderRegistry()
    with pytest.raises(PluginError, match=r"2 distributions register a provider 'echo': ") as caught:
        registry.get("echo")
    assert "acme 1.2" in str(caught.value)
    assert "zenith 9" in str(caught.value)
    assert caught.value.distribution in {"acme 1.2", "zenith 9"}
    assert "pass the one you mean as providers=..." in str(caught.value)
    works(registry, "other")
    mine = registry.get("other")
    assert ProviderRegistry({"echo": mine}).get("echo") is mine


BROKEN: dict[str, tuple[str, str]] = {
    "import fails": (
        "import no_such_module_anywhere",
        "ModuleNotFoundError: No module named 'no_such_module_anywhere'",
    ),
    "syntax error": ("def Provider(:", "SyntaxError"),
    "import raises": ("raise RuntimeError('boom')", "RuntimeError: boom"),
    "no such object": ("Other = 1", "AttributeError"),
    "not callable": ("Provider = 5", "TypeError: 'int' object is not callable"),
    "constructor fails": ("def Provider(): raise OSError('no licence')", "OSError: no licence"),
    "wants arguments": ("def Provider(region): ...", "TypeError: .*region"),
    "returns nothing": ("def Provider(): ...", r"\(NoneType\) lacks name: str, interface_version: int, converse"),
    "lacks a verb": (
        "class Provider:\n    name = 'echo'\n    interface_version = 1\n    def converse(self, request, ctx): ...",
        r"\(Provider\) lacks stream\(request, ctx\)",
    ),
    "verb is no function": (
        "class Provider:\n    name = 'echo'\n    interface_version = 1\n    converse = stream = 'yes'",
        r"lacks converse\(request, ctx\), stream\(request, ctx\)",
    ),
    "name is no text": (
        "class Provider:\n    name = 5\n    interface_version = 1\n    def converse(self): ...\n    stream = converse",
        "lacks name: str",
    ),
    "another name": (OTHER, r"\(Provider\) calls itself 'other'"),
    "raises when looked at": (
        "class Provider:\n    interface_version = 1\n    @property\n    def name(self): raise RuntimeError('boom')",
        "cannot be inspected: RuntimeError",
    ),
    "another interface": (
        GOOD.replace("= INTERFACE_VERSION", "= 99"),
        f"speaks interface version 99; this bedrock_async speaks {INTERFACE_VERSION}",
    ),
}


@pytest.mark.parametrize(("source", "says"), BROKEN.values(), ids=BROKEN)
def test_a_broken_plugin_is_named_and_touches_nothing_else(install: Install, source: str, says: str) -> None:
    """The error has the distribution and its version and says what is wrong; every other provider works on."""
    install("acme", source)
    install("zenith", OTHER, entry="other")
    registry = ProviderRegistry()
    for _ in range(2):  # a failure is not remembered as a provider
        with pytest.raises(PluginError, match=f"(?s)acme 1.2.*{says}") as caught:
            registry.get("echo")
        assert caught.value.distribution == "acme 1.2"
        assert caught.value.hint
    works(registry, "other")


def test_the_failure_of_a_plugin_is_the_cause_of_the_error(install: Install) -> None:
    """So that its author finds the line."""
    install("acme", "raise RuntimeError('boom')")
    with pytest.raises(PluginError) as caught:
        ProviderRegistry().get("echo")
    assert isinstance(caught.value.__cause__, RuntimeError)


@pytest.mark.parametrize("missing", ["name", "interface_version", "converse", "stream"])
def test_a_given_provider_is_checked_when_the_registry_is_made(missing: str) -> None:
    """Not at the first call: what is missing is said where it was given."""
    members = {
        name: getattr(Lent, name) for name in ("name", "interface_version", "converse", "stream") if name != missing
    }
    broken: Any = type("Broken", (), members)()
    with pytest.raises(PluginError, match=f"provider 'mine' of providers= .Broken. lacks {missing}"):
        ProviderRegistry({"mine": broken})


def test_a_provider_that_keeps_the_protocol_passes_the_check() -> None:
    """check_provider returns the object itself, typed."""
    lent: Provider = Lent()
    assert check_provider(lent, "lent", "here") is lent


def test_an_entry_point_is_loaded_by_calling_what_it_names() -> None:
    """A class or a function without arguments."""
    made = load_entry_point(EntryPoint("x", "bedrock_async.providers.converse:ConverseProvider", GROUP))
    assert isinstance(made, ConverseProvider)
