"""Routing: how a question reaches a model where one plain request is not all: rate limits, targets, continuations."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Final, TypeAlias

import msgspec

from .calls import Call, Inference, OpenStream, open_events, run
from .continuing import ContinuedStream
from .events import Event
from .limiting import RateLimiter, Ticket
from .resilience import Continuation, RateLimit, Target
from .resilience.continuation import continued_request
from .resilience.token_estimate import (
    DEFAULT_OUTPUT_TOKENS,
    Counted,
    estimated_tokens,
    estimated_tokens_of_body,
)
from .targets import Place, TargetLoop, Way, call_of, close_stream
from .types import ConverseResponse, ResponseMeta

if TYPE_CHECKING:
    from .families import ModelProfile

Aim: TypeAlias = Callable[[Inference, Place], Inference]
"""Returns a question as it goes to a place."""

# Claude refuses a begun answer while it thinks, and the others do no better.  [Bedrock user guide, extended thinking]
_THINKING: Final = frozenset({"thinking", "reasoning_config", "reasoningConfig", "reasoning_effort"})


class Routing:
    """What a client has set of rate limits and targets; the callables are the client's."""

    def __init__(
        self,
        *,
        limiter: RateLimiter | None,
        targets: TargetLoop | None,
        aim: Aim,
        meta_of: Callable[[Inference, Call], ResponseMeta],
        profile: Callable[[str | None], ModelProfile],
    ) -> None:
        self._limiter = limiter
        self._targets = targets
        self._aim = aim
        self._meta_of = meta_of
        self._profile = profile

    async def converse(self, inference: Inference, call: Call) -> ConverseResponse:
        """Return the answer of the first target that gives one, as the rate limits let it through."""
        if self._targets is None:
            call.ticket = self._ticket(inference, call)
            return await self._whole(Way(inference, call))
        answer = await self._targets.ask(call, partial(self._way, inference, call), self._whole)
        way = answer.way
        return answer.value.with_meta(self._meta_of(way.inference, way.call))

    async def open(self, inference: Inference, call: Call) -> tuple[OpenStream[Event], ResponseMeta]:
        """Return the stream of the first target that begins one; it goes on by itself where that is asked for."""
        stream, meta = await self._open(inference, call)
        continuation: Continuation | None = inference.settings.get("continuation")
        if continuation is None or stream.response is None:
            return stream, meta
        later = inference
        if continuation.model is not None:
            later = self._aim(inference, Place(Target(model=continuation.model)))
        prefill = _continues(later)

        async def reopen(text: str) -> tuple[OpenStream[Event], ResponseMeta]:
            request = continued_request(later.request, text, prefill=prefill)
            again = Call(
                call.line, call.timeouts, call.retry, call.large, spent=call.spent, model=call.model, watch=call.watch
            )
            return await self._open(msgspec.structs.replace(later, request=request), again)

        body = ContinuedStream(stream, meta, continuation=continuation, call=call, prefill=prefill, reopen=reopen)
        stream = msgspec.structs.replace(stream, first=body.first, response=body, decoder=body.decoder, meta=body.meta)
        return stream, meta

    def ticket_of_body(self, call: Call, body: bytes) -> Ticket | None:
        """Return the ticket of a call with a native body, of which nobody knows how long its answer may be."""
        model = call.model
        if self._limiter is None or model is None:
            return None

        def tokens(limit: RateLimit) -> Counted:
            burndown = _burndown(limit, self._profile(model.base_model))
            return Counted(estimated_tokens_of_body(body), 0, burndown)

        return self._limiter.ticket(model, region=call.line.region, tokens=tokens)

    # -- inside

    async def _whole(self, way: Way) -> ConverseResponse:
        inference = way.inference
        response = await run(inference.provider.converse(inference.request, inference.context), way.call)
        return response.with_meta(self._meta_of(inference, way.call))

    async def _open(self, inference: Inference, call: Call) -> tuple[OpenStream[Event], ResponseMeta]:
        if self._targets is None:
            call.ticket = self._ticket(inference, call)
            return await open_events(inference, call), self._meta_of(inference, call)
        answer = await self._targets.ask(call, partial(self._way, inference, call), _events, discard=close_stream)
        way = answer.way
        return answer.value, self._meta_of(way.inference, way.call)

    def _way(self, inference: Inference, call: Call, place: Place) -> Way:
        aimed = self._aim(inference, place)
        its_own = call_of(call, place.line(call.line), place.target.label)
        its_own.model, its_own.watch = aimed.context.target, call.watch
        # Credentials of its own are those of another account, as far as anybody knows, which has quotas of its own.
        its_own.ticket = self._ticket(aimed, its_own, account="" if place.authenticator is None else place.target.label)
        return Way(aimed, its_own)

    def _ticket(self, inference: Inference, call: Call, account: str = "") -> Ticket | None:
        if self._limiter is None:
            return None
        request, profile = inference.request, inference.context.profile

        def tokens(limit: RateLimit) -> Counted:
            config = request.inference_config
            output_tokens = None if config is None else config.max_tokens
            if output_tokens is None:  # then the service reserves what the model can write at most
                output_tokens = profile.max_output_tokens or DEFAULT_OUTPUT_TOKENS
            return Counted(estimated_tokens(request), output_tokens, _burndown(limit, profile))

        target = inference.context.target
        return self._limiter.ticket(target, region=call.line.region, tokens=tokens, account=account)


async def _events(way: Way) -> OpenStream[Event]:
    return await open_events(way.inference, way.call)


def _burndown(limit: RateLimit, profile: ModelProfile) -> float:
    return profile.burndown if limit.burndown is None else limit.burndown


def _continues(inference: Inference) -> bool:
    """Return whether a model goes on from a last message of the assistant."""
    fields = inference.request.additional_model_request_fields
    thinks = isinstance(fields, Mapping) and not _THINKING.isdisjoint(fields)
    return inference.context.profile.prefill and not thinks
