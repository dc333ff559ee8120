"""Vendors on Bedrock whose native body is that of chat completions: one row of data each.

Google (Gemma), MiniMax, Moonshot (Kimi), NVIDIA (Nemotron), Writer (Palmyra) and Z.AI (GLM). That InvokeModel takes
this body for them is known from their model cards, the user guide's page on Palmyra X5 and trials published by others;
no exchange with them was recorded.
"""

from __future__ import annotations

from typing import Final

from bedrock_async.families import FamilyContext, NativeRequest
from bedrock_async.families.chat_form import CHAT_FEATURES, ChatForm, ChatFormFamily
from bedrock_async.types import ConverseRequest

__all__ = ["WriterFamily", "google", "minimax", "moonshot", "moonshotai", "nvidia", "writer", "zai"]

_WITH_IMAGES: Final = CHAT_FEATURES | {"images"}


def _form(name: str, *, features: frozenset[str] = CHAT_FEATURES, reasons: bool = True) -> ChatForm:
    return ChatForm(
        name=name,
        models=(f"{name}.*",),
        features=features,
        # Content as one text was tried with each of them; not all take a list of parts.
        content_parts=False,
        # How InvokeModel encloses the reasoning of gpt-oss (recorded) and Kimi K2 (published trials, 2026-05); for the
        # others it is inferred from these.
        reasoning_tags=("<reasoning>", "</reasoning>") if reasons else None,
    )


def google() -> ChatFormFamily:
    """Return the family of Gemma 3."""
    return ChatFormFamily(_form("google", features=_WITH_IMAGES, reasons=False))


def minimax() -> ChatFormFamily:
    """Return the family of MiniMax M2."""
    return ChatFormFamily(_form("minimax"))


def moonshot() -> ChatFormFamily:
    """Return the family of Kimi K2 Thinking."""
    return ChatFormFamily(_form("moonshot"))


def moonshotai() -> ChatFormFamily:
    """Return the family of Kimi K2.5 and K3, whose ids name the same vendor ``moonshotai``."""
    return ChatFormFamily(_form("moonshotai", features=_WITH_IMAGES))


def nvidia() -> ChatFormFamily:
    """Return the family of Nemotron."""
    return ChatFormFamily(_form("nvidia", features=_WITH_IMAGES))


def writer() -> ChatFormFamily:
    """Return the family of Palmyra."""
    return WriterFamily(_form("writer", features=_WITH_IMAGES, reasons=False))


def zai() -> ChatFormFamily:
    """Return the family of GLM."""
    return ChatFormFamily(_form("zai"))


class WriterFamily(ChatFormFamily):
    """Palmyra. X4 and X5 get their maximum as ``max_tokens`` if the request has none."""

    def encode(self, request: ConverseRequest, ctx: FamilyContext) -> NativeRequest:
        """Return the body of a chat completion, with ``max_tokens``."""
        native = super().encode(request, ctx)
        most = ctx.profile.max_output_tokens
        # Without it an answer ends after 16 tokens.  [user guide, "Writer Palmyra X5"]
        if most is None or not ctx.base_model.startswith("writer.palmyra-x"):
            return native
        return NativeRequest({self.form.max_tokens_field: most, **native.body})
