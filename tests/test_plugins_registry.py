"""Finding the family of a model, and what may be loaded at all. Plugins are real distributions on sys.path."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import EntryPoint
from pathlib import Path
from textwrap import dedent
from typing import Any, Final, TypeAlias

import pytest
from acme import Acme
from commandline import install as install_distribution
from distributions import importable

from bedrock_async import BedrockClient, Credentials, PluginError
from bedrock_async.families import INTERFACE_VERSION, ModelFamily, ModelProfile
from bedrock_async.families.registry import FAMILIES, GROUP, FamilyRegistry, check_family, known_distribution
from bedrock_async.model_id import VENDORS, parse_model_id
from bedrock_async.plugins import EVERYTHING, VARIABLE, Allowed, PluginKind, PluginRegistry, allowed_plugins
from bedrock_async.providers.registry import GROUP as PROVIDER_GROUP
from bedrock_async.providers.registry import ProviderRegistry
from bedrock_async.testing.canned import CannedResponse, CannedTransport

Install: TypeAlias = Callable[..., None]

FAMILY: Final = """
    class Family:
        name = "zebra"
        interface_version = 1
        models = ("zebra.*",)
        verified = True

        def supports(self, ctx): ...
        def encode(self, request, ctx): ...
        def decode(self, body, headers, ctx): ...
        def stream_decoder(self, ctx): ...
"""
PROVIDER: Final = """
    class Family:
        name = "zebra"
        interface_version = 1

        def converse(self, request, ctx): ...
        def stream(self, request, ctx): ...
"""
MODEL: Final = parse_model_id("us.zebra.chat-1")


@pytest.fixture
def install(tmp_path: Path) -> Iterator[Install]:
    """Install distributions for this test: a module with a family, and its metadata, in a folder of sys.path."""

    def add(distribution: str, source: str = FAMILY, *, entry: str = "zebra", group: str = GROUP) -> None:
        module = f"{distribution.replace('-', '_')}_plugin"
        install_distribution(
            tmp_path,
            distribution,
            modules={module: dedent(source)},
            entry_points={group: [f"{entry} = {module}:Family"]},
        )
        importlib.invalidate_caches()

    with importable(tmp_path):
        yield add


# -- the family of a model


def test_the_vendor_of_a_model_names_its_family(install: Install) -> None:
    """Without importing any other one; made once for each registry."""
    install("acme-zebra")
    install("acme-yak", entry="yak")
    registry = FamilyRegistry()
    family = registry.resolve(MODEL)
    assert family.name == "zebra"
    assert registry.resolve(parse_model_id("zebra.chat-2")) is family
    assert "acme_zebra_plugin" in sys.modules
    assert "acme_yak_plugin" not in sys.modules
    assert FamilyRegistry().resolve(MODEL) is not family


def test_asking_for_facts_imports_nothing(install: Install) -> None:
    """The built-in table knows models whose family was never loaded."""
    install("acme-zebra")
    install("bedrock-async-amazon", "raise RuntimeError('boom')", entry="amazon")
    registry = FamilyRegistry()
    assert registry.profile("amazon.nova-lite-v1:0").context_window == 300_000
    assert registry.profile("zebra.chat-1").source == "nothing is known of this model"
    assert registry.profile(None).chats
    assert "acme_zebra_plugin" not in sys.modules


def test_a_family_may_bring_facts(install: Install) -> None:
    """For the calls that go through it they come before the built-in ones, and for others, loaded or not, never."""
    install(
        "acme-zebra",
        FAMILY
        + """
        from bedrock_async.families import ModelProfile

        profiles = {"zebra.chat-*": ModelProfile(source="the vendor's page", context_window=9)}
    """,
    )
    registry = FamilyRegistry()
    family = registry.resolve(MODEL)
    assert registry.profile("zebra.chat-1", family).context_window == 9
    assert registry.profile("zebra.chat-1").context_window is None
    assert FamilyRegistry({"mine": family}).profile("zebra.chat-1").context_window == 9


async def test_the_first_call_has_the_facts_that_a_family_brings(install: Install) -> None:
    """As the second one, for which the family is loaded already: the same call sends the same body."""
    install(
        "acme-zebra",
        """
        from bedrock_async.families import ModelProfile, NativeRequest

        class Family:
            name = "zebra"
            interface_version = 1
            models = ("zebra.*",)
            verified = True
            profiles = {"zebra.*": ModelProfile(source="the vendor's page", max_output_tokens=77)}

            def supports(self, ctx): return ()
            def encode(self, request, ctx): return NativeRequest({"limit": ctx.profile.max_output_tokens})
            def decode(self, body, headers, ctx): ...
            def stream_decoder(self, ctx): ...
        """,
    )
    transport = CannedTransport([CannedResponse([b"{}"]) for _ in range(2)])
    async with BedrockClient(region="us-east-1", transport=transport, credentials=Credentials("any", "key")) as client:
        for _ in range(2):
            with pytest.raises(PluginError, match="returned a NoneType, not a ConverseResponse"):
                await client.converse("zebra.chat-1", "Hi", provider="invoke")
    assert [request.body for request in transport.requests] == [b'{"limit":77}'] * 2


def test_given_families_are_asked_first(install: Install) -> None:
    """In their order, by their patterns; the installed one serves the rest."""
    install("acme-zebra")

    class Part(Acme):
        models = ("zebra.chat-*",)

    part, whole = Part(), Acme()
    registry = FamilyRegistry({"part": part, "acme": whole})
    assert registry.resolve(MODEL) is part
    assert registry.resolve(parse_model_id("acme.chat-1")) is whole
    assert "acme_zebra_plugin" not in sys.modules
    assert registry.resolve(parse_model_id("zebra.write-1")).name == "zebra"
    assert registry.origin("part") == "families="
    assert registry.origin("zebra") == "acme-zebra 1.2.3"


@pytest.mark.parametrize("vendor", sorted(VENDORS - {"anthropic", "openai"}))
def test_a_model_that_no_family_claims_names_the_package_to_install(vendor: str, install: Install) -> None:
    """For every vendor that is known today and has one, or the family is there already."""
    model = parse_model_id(f"eu.{vendor}.model-1-v1:0")
    installed = {point.name for point in FAMILIES.installed()}
    if vendor in installed:
        assert FamilyRegistry().resolve(model, vendor).name == vendor
        return
    with pytest.raises(PluginError, match=f"no installed family claims the model 'eu.{vendor}.model-1-v1:0'") as caught:
        FamilyRegistry().resolve(model)
    distribution = known_distribution(vendor)
    assert caught.value.distribution == distribution
    way = "Pass one as families={...}" if distribution is None else f"pip install {distribution}"
    assert way in str(caught.value)
    assert "provider='converse'" in str(caught.value)


@pytest.mark.parametrize(
    ("vendor", "distribution"),
    [
        ("meta", "bedrock-async-meta"),
        ("moonshotai", "bedrock-async-chatforms"),
        ("writer", "bedrock-async-chatforms"),
        ("xai", None),
        ("stranger", None),
    ],
)
def test_the_distribution_of_a_vendor_is_known(vendor: str, distribution: str | None) -> None:
    """Its own, the one for all that share the chat form, or none."""
    assert known_distribution(vendor) == distribution


def test_a_model_of_a_stranger_says_how_to_bring_its_family(install: Install) -> None:
    """There is no package to name."""
    install("acme-yak", entry="yak")
    with pytest.raises(PluginError, match=r"\(vendor 'zebra'; installed: .*yak.*\)") as caught:
        FamilyRegistry().resolve(MODEL)
    assert caught.value.distribution is None
    assert "families={...}" in str(caught.value)


def test_an_id_that_does_not_tell_its_vendor_says_how_to_tell() -> None:
    """The opaque id of an application's profile, and an imported model."""
    for arn in (
        "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/a1b2",
        "arn:aws:bedrock:us-east-1:123456789012:imported-model/a1b2",
    ):
        with pytest.raises(PluginError, match="the vendor, and so the family, cannot be told") as caught:
            FamilyRegistry().resolve(parse_model_id(arn))
        assert "inference_profile=" in str(caught.value)
        assert 'provider_options={"family"' in str(caught.value)


def test_a_family_may_be_named(install: Install) -> None:
    """Whatever the model is: an imported model speaks the dialect of what it was made from."""
    install("acme-zebra")
    arn = parse_model_id("arn:aws:bedrock:us-east-1:123456789012:imported-model/a1b2")
    assert FamilyRegistry().resolve(arn, "zebra").name == "zebra"
    with pytest.raises(PluginError, match=r"there is no family 'zebre'.*Did you mean 'zebra'\?"):
        FamilyRegistry().resolve(arn, "zebre")


def test_a_model_that_its_vendors_family_does_not_know_is_told(install: Install) -> None:
    """With the patterns that it knows, its distribution and version."""
    install("acme-zebra", FAMILY.replace('"zebra.*"', '"zebra.chat-*"'))
    registry = FamilyRegistry()
    with pytest.raises(
        PluginError, match=r"'zebra' of acme-zebra 1.2.3 does not know the model zebra.write-1"
    ) as caught:
        registry.resolve(parse_model_id("zebra.write-1"))
    assert caught.value.distribution == "acme-zebra 1.2.3"
    assert "zebra.chat-*" in str(caught.value)
    assert registry.resolve(MODEL).name == "zebra"


# -- broken plugins

BROKEN: Final[dict[str, tuple[str, str]]] = {
    "import fails": ("import no_such_module_anywhere", "ModuleNotFoundError"),
    "import raises": ("raise RuntimeError('boom')", "RuntimeError: boom"),
    "import exits": ("raise SystemExit(3)", "SystemExit: 3"),
    "constructor fails": ("def Family(): raise OSError('no licence')", "OSError: no licence"),
    "a module in its place": ("import sys\nFamily = sys", "TypeError"),
    "lacks a method": (FAMILY.replace("def encode", "def other"), r"\(Family\) lacks encode\(request, ctx\)"),
    "lacks everything": ("Family = object", r"lacks name: str, interface_version: int, models: tuple of str"),
    "patterns are text": (FAMILY.replace('("zebra.*",)', '"zebra.*"'), "lacks models: tuple of str"),
    "verified is no bool": (FAMILY.replace("verified = True", "verified = 'yes'"), "lacks verified: bool"),
    "facts are none": (FAMILY + "        profiles = {'zebra.*': 5}\n", "lacks profiles: dict of ModelProfile"),
    "facts are a list": (FAMILY + "        profiles = [1]\n", "lacks profiles: dict of ModelProfile"),
    "a class of a class": ("class Inner: ...\ndef Family(): return Inner", "is the class Inner, not an instance"),
    "another interface": (
        FAMILY.replace("interface_version = 1", "interface_version = 99"),
        f"speaks interface version 99; this bedrock_async speaks {INTERFACE_VERSION}",
    ),
    "another name": (FAMILY.replace('name = "zebra"', 'name = "lion"'), r"\(Family\) calls itself 'lion'"),
    "raises when looked at": (
        "class Family:\n    interface_version = 1\n    @property\n    def name(self): raise RuntimeError('boom')",
        "cannot be inspected: RuntimeError",
    ),
}


@pytest.mark.parametrize(("source", "says"), BROKEN.values(), ids=BROKEN)
def test_a_broken_family_is_named_and_touches_nothing_else(install: Install, source: str, says: str) -> None:
    """The error has the distribution and its version and says what is wrong; every other family works on."""
    install("acme-zebra", source)
    install("acme-yak", FAMILY.replace("zebra", "yak"), entry="yak")
    registry = FamilyRegistry()
    for _ in range(2):  # a failure is not remembered as a family
        with pytest.raises(PluginError, match=f"(?s)acme-zebra 1.2.3.*{says}") as caught:
            registry.resolve(MODEL)
        assert caught.value.distribution == "acme-zebra 1.2.3"
        assert caught.value.hint
    assert registry.resolve(parse_model_id("yak.chat-1")).name == "yak"


def test_two_distributions_of_one_vendor_are_a_conflict(install: Install) -> None:
    """Neither wins silently, and the one that is given does."""
    install("acme-zebra")
    install("other-zebra")
    with pytest.raises(PluginError, match="2 distributions register a family 'zebra'") as caught:
        FamilyRegistry().resolve(MODEL)
    assert "acme-zebra 1.2.3" in str(caught.value)
    assert "other-zebra 1.2.3" in str(caught.value)
    assert "pass the one you mean as families=..." in str(caught.value)

    class Mine(Acme):
        models = ("zebra.*",)

    mine = Mine()
    assert FamilyRegistry({"zebra": mine}).resolve(MODEL) is mine


def test_an_installation_twice_on_the_path_is_one(install: Install, tmp_path: Path) -> None:
    """An editable and a plain installation of the same distribution bring the same thing."""
    install("acme-zebra")
    second = tmp_path / "second"
    install_distribution(second, "acme-zebra", entry_points={GROUP: ["zebra = acme_zebra_plugin:Family"]})
    sys.path.insert(0, str(second))
    importlib.invalidate_caches()
    assert FamilyRegistry().resolve(MODEL).name == "zebra"
    assert [point.name for point in FAMILIES.installed()].count("zebra") == 1


@pytest.mark.parametrize("missing", ["encode", "decode", "supports", "stream_decoder", "models", "verified"])
def test_a_given_family_is_checked_when_the_registry_is_made(missing: str) -> None:
    """Not at the first call: what is missing is said where it was given."""
    members: dict[str, Any] = {
        name: getattr(Acme, name)
        for name in (*("name", "interface_version", "models", "verified"), *("supports", "encode", "decode"))
        if name != missing
    }
    if missing != "stream_decoder":
        members["stream_decoder"] = Acme.stream_decoder
    broken: Any = type("Broken", (), members)()
    with pytest.raises(PluginError, match=rf"family 'mine' of families= \(Broken\) lacks {missing}"):
        FamilyRegistry({"mine": broken})


def test_the_families_of_models_are_remembered_for_as_many_as_there_are() -> None:
    """And of ids without end, no more than for a thousand."""
    registry = FamilyRegistry({"acme": Acme()})
    for number in range(1_100):
        assert registry.resolve(parse_model_id(f"acme.chat-{number}")).name == "acme"
    assert len(registry._resolved) == 1_000


def test_a_class_in_the_place_of_a_family_is_told() -> None:
    """A forgotten pair of parentheses."""
    forgotten: Any = Acme
    with pytest.raises(PluginError, match=r"'acme' of families= is the class Acme, not an instance.*Pass Acme\(\)"):
        FamilyRegistry({"acme": forgotten})


def test_a_family_that_keeps_the_protocol_passes_the_check() -> None:
    """check_family returns the object itself, typed, with facts or without."""

    class WithFacts(Acme):
        profiles: Mapping[str, ModelProfile] = {"acme.*": ModelProfile(source="test")}

    for family in (Acme(), WithFacts()):
        typed: ModelFamily = family
        assert check_family(typed, "acme", "here") is family


# -- what may be loaded


@pytest.mark.parametrize(
    ("value", "permitted"),
    [
        (None, True),
        ("", False),
        ("acme-zebra", True),
        ("Acme_Zebra", True),
        ("acme.zebra", True),
        ("other, acme-zebra ,more", True),
        ("other", False),
        ("zebra", False),
    ],
)
def test_the_environment_limits_what_is_loaded(install: Install, value: str | None, *, permitted: bool) -> None:
    """Families and providers alike, by the names of distributions; what is built in always may be."""
    install("acme-zebra")
    install("acme-zebra-two", PROVIDER, group=PROVIDER_GROUP)
    allowed = allowed_plugins({} if value is None else {VARIABLE: value})
    registry = FamilyRegistry(allowed=allowed)
    if permitted:
        assert registry.resolve(MODEL).name == "zebra"
    else:
        with pytest.raises(
            PluginError, match=rf"acme-zebra 1\.2\.3 is not loaded: {VARIABLE} does not allow it"
        ) as caught:
            registry.resolve(MODEL)
        assert caught.value.distribution == "acme-zebra 1.2.3"
        assert f"Add acme-zebra to {VARIABLE}" in str(caught.value)
        assert "acme_zebra_plugin" not in sys.modules
    providers = ProviderRegistry(allowed=allowed)
    assert providers.get("invoke").name == "invoke"
    if value is not None:
        with pytest.raises(PluginError, match=r"acme-zebra-two 1\.2\.3 is not loaded"):
            providers.get("zebra")


def test_our_own_prefix_may_be_left_out(install: Install) -> None:
    """``zebra`` allows bedrock-async-zebra."""
    install("bedrock-async-zebra")
    assert FamilyRegistry(allowed=allowed_plugins({VARIABLE: "zebra"})).resolve(MODEL).name == "zebra"
    assert FamilyRegistry(allowed=Allowed(frozenset({"bedrock-async-zebra"}))).resolve(MODEL).name == "zebra"


def test_what_is_not_allowed_is_no_conflict(install: Install) -> None:
    """Of two distributions, the one that is allowed is loaded."""
    install("acme-zebra")
    install("other-zebra", "raise RuntimeError('boom')")
    assert FamilyRegistry(allowed=Allowed(frozenset({"acme-zebra"}))).resolve(MODEL).name == "zebra"


def test_what_is_given_needs_no_permission() -> None:
    """It is the program's own."""
    family = Acme()
    assert FamilyRegistry({"acme": family}, Allowed(frozenset())).resolve(parse_model_id("acme.x")) is family


def test_the_client_heeds_the_environment(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    """For the default provider, before any call, and for families at the first call."""
    install("acme-zebra")
    install("acme-zebra-two", PROVIDER, group=PROVIDER_GROUP)
    monkeypatch.setenv(VARIABLE, "")
    keys = Credentials("any", "key")
    with pytest.raises(PluginError, match=VARIABLE):
        BedrockClient(region="us-east-1", credentials=keys, provider="zebra")
    client = BedrockClient(region="us-east-1", credentials=keys)
    with pytest.raises(PluginError, match=VARIABLE):
        client.stream("zebra.chat-1", "Hi", provider="invoke")
    monkeypatch.delenv(VARIABLE)
    free = BedrockClient(region="us-east-1", credentials=keys, provider="zebra")
    assert "acme_zebra_plugin" not in sys.modules
    free.stream("zebra.chat-1", "Hi", provider="invoke")
    assert "acme_zebra_plugin" in sys.modules


def test_a_client_refuses_a_family_that_is_none() -> None:
    """When it is made."""
    nothing: Any = object()
    with pytest.raises(PluginError, match=r"the family 'acme' of families= \(object\) lacks name"):
        BedrockClient(region="us-east-1", credentials=Credentials("any", "key"), families={"acme": nothing})


# -- the registry itself


class Counting(PluginKind[object], frozen=True):
    """A kind that counts how often the metadata is read."""

    def installed(self) -> tuple[EntryPoint, ...]:
        """Count, and find nothing."""
        COUNTED.append(self.noun)
        return ()


COUNTED: Final[list[str]] = []


def test_metadata_is_read_once_and_only_when_needed() -> None:
    """What is built in or given costs nothing; the first other name reads, and no later one again."""
    COUNTED.clear()
    point = EntryPoint("mine", "builtins:dict", "group")
    kind = Counting("group", "thing", "things", lambda plugin, _name, _source: plugin, (point,))
    registry = PluginRegistry[object](kind, {"given": 5}, EVERYTHING)
    assert (registry.get("given"), registry.get("mine")) == (5, {})
    assert not COUNTED
    for name in ("other", "another"):
        with pytest.raises(PluginError, match=f"there is no thing '{name}'; installed: given, mine"):
            registry.get(name)
        assert registry.find(name) is None
    assert COUNTED == ["thing"]
