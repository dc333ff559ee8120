"""Finds the family of a model: given to the client, or installed as a plugin.

Entry-point group ``bedrock_async.families``; the name of the entry point is the vendor segment of the model ids, its
object a class or function without arguments that returns a `ModelFamily`. So the family of ``acme.chat-1`` is known to
be ``acme`` without importing anything, and only that one is imported.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, cast

from .._bounded import remember
from ..errors import PluginError
from ..model_id import VENDORS, ModelId
from ..plugins import EVERYTHING, Allowed, PluginKind, PluginRegistry, check_members
from ._protocol import INTERFACE_VERSION, ModelFamily
from .profiles import ModelProfile, best_match, find_profile

GROUP: Final = "bedrock_async.families"

# One distribution has all vendors that need only a row of data for the chat completions format.
_CHAT_FORMS: Final = frozenset({"google", "minimax", "moonshot", "moonshotai", "nvidia", "writer", "zai"})
_MOST_MODELS: Final = 1000
# Too little is known of the native bodies of their models.
_WITHOUT_FAMILY: Final = frozenset({"luma", "xai"})


def known_distribution(vendor: str) -> str | None:
    """Return the distribution that provides the family of a vendor, or None if there is none."""
    if vendor in _CHAT_FORMS:
        return "bedrock-async-chatforms"
    return f"bedrock-async-{vendor}" if vendor in VENDORS - _WITHOUT_FAMILY else None


def _patterns(value: object) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(each, str) for each in cast("Iterable[object]", value))


def _facts_of(family: ModelFamily) -> Mapping[str, ModelProfile] | None:
    table: Mapping[str, ModelProfile] | None = getattr(family, "profiles", None)  # optional in a family
    return table


def _profiles(value: object) -> bool:
    if value is None:  # optional in a family
        return True
    facts = cast("Mapping[object, object]", value).values() if isinstance(value, Mapping) else (None,)
    return all(isinstance(each, ModelProfile) for each in facts)


def check_family(family: object, name: str, source: str) -> ModelFamily:
    """Return ``family`` if it implements the protocol. Raises PluginError, which names what is missing."""
    check_members(
        family,
        name,
        source,
        noun="family",
        version=INTERFACE_VERSION,
        members={
            "name: str": lambda value: isinstance(value, str),
            "interface_version: int": lambda value: isinstance(value, int),
            "models: tuple of str": _patterns,
            "profiles: dict of ModelProfile": _profiles,
            "verified: bool": lambda value: isinstance(value, bool),
            "supports(ctx)": callable,
            "encode(request, ctx)": callable,
            "decode(body, headers, ctx)": callable,
            "stream_decoder(ctx)": callable,
        },
    )
    return cast("ModelFamily", family)


FAMILIES: Final = PluginKind(GROUP, "family", "families", check_family)
"""The kind of plugins registered in the group of families."""


class FamilyRegistry(PluginRegistry[ModelFamily]):
    """The families of one client. ``given`` (name -> family) takes precedence over installed ones."""

    def __init__(self, given: Mapping[str, ModelFamily] | None = None, allowed: Allowed = EVERYTHING) -> None:
        """Check the given families. Raises PluginError."""
        super().__init__(FAMILIES, given, allowed)
        self._given = tuple(given or ())
        self._resolved: dict[str, ModelFamily] = {}
        find_profile("any")  # loads the table of facts now rather than in the first call

    def resolve(self, model: ModelId, name: str | None = None) -> ModelFamily:
        """Return the family of a model, or the family called ``name`` regardless of the model.

        The given families are tried first, in order, then the one named after the model's vendor. Raises PluginError,
        which names the package to install, or the distribution at fault.
        """
        if name is not None:
            return self.get(name)
        base_model = model.base_model or ""
        family = self._resolved.get(base_model) if base_model else None
        if family is None:
            family = self._resolve(model, base_model)
            remember(self._resolved, base_model, family, _MOST_MODELS)
        return family

    def profile(self, base_model: str | None, family: ModelFamily | None = None) -> ModelProfile:
        """Return the facts about a model.

        Facts of the given families take precedence, then those of ``family``, through which the call goes, then the
        built-in table. The facts do not depend on which families other calls have loaded.
        """
        speaking = [*(self._loaded[name] for name in self._given), *([] if family is None else [family])]
        return find_profile(base_model, also=[table for each in speaking if (table := _facts_of(each))])

    def _resolve(self, model: ModelId, base_model: str) -> ModelFamily:
        for name in self._given:
            if best_match(base_model, self._loaded[name].models) is not None:
                return self._loaded[name]
        if model.vendor is None:
            raise PluginError(
                f"the vendor, and so the family, cannot be told from the model {model.raw!r}.",
                hint="Pass the model's own id and this one as inference_profile=, or name the family: "
                'provider_options={"family": "anthropic"}.',
            )
        family = self.find(model.vendor)
        if family is None:
            raise _not_installed(model, model.vendor, sorted({point.name for point in self._read()}))
        if best_match(base_model, family.models) is None:
            raise PluginError(
                f"the family {family.name!r} of {self.origin(model.vendor)} does not know the model {base_model}; it "
                f"knows {', '.join(family.models)}.",
                distribution=self.origin(model.vendor),
                hint=f"Install a newer version, use provider='converse', or force it with "
                f"provider_options={{'family': {family.name!r}}}.",
            )
        return family


def _not_installed(model: ModelId, vendor: str, installed: list[str]) -> PluginError:
    distribution = known_distribution(vendor)
    what = f"no installed family claims the model {model.raw!r} (vendor {vendor!r}; installed: "
    return PluginError(
        f"{what}{', '.join(installed) or 'none'}).",
        distribution=distribution,
        hint=f"Install it (pip install {distribution}), or use provider='converse'."
        if distribution
        else "Pass one as families={...}, or use provider='converse'.",
    )
