"""One model of a client with its own settings: the client's verbs without their first argument."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any, Concatenate, Final, ParamSpec, TypeVar, Unpack, cast, overload

import msgspec

from .features.arguments import check_options
from .features.operations import BidirectionalSettings, InvokeSettings
from .features.settings import (
    HOW_SENT,
    CallSettings,
    Messages,
    UntypedSettings,
    changed_settings,
    check_names,
    copied,
    merged_settings,
)
from .features.tasks import TaskSettings
from .model_id import parse_model_id
from .types import ConverseRequest

if TYPE_CHECKING:
    from .client import BedrockClient
    from .conversation import Conversation
    from .counting import Estimate
    from .features.cache_plan import CachePlan
    from .features.operations import NativeBody
    from .features.structured import OutputMode, OutputType
    from .known_models import KnownModelId
    from .outputs import Output, OutputStream
    from .stream import ResponseStream
    from .tool_loop import OnToolError, ToolLoop
    from .types import ConverseResponse, TokenCount

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

_CONNECTION: Final = frozenset({"timeouts", "retry"})


class _Config(msgspec.Struct, frozen=True):
    """The model and its settings at one moment; never changed, only replaced."""

    model: str
    settings: Mapping[str, Any]

    def under(self, call: Mapping[str, Any], known: Collection[str]) -> dict[str, Any]:
        """Return the keywords of a call, completed by those settings that the verb knows."""
        return merged_settings({name: value for name, value in self.settings.items() if name in known}, call)


if TYPE_CHECKING:

    def _without_model(
        verb: Callable[Concatenate[BedrockClient, str, P], R],
    ) -> Callable[Concatenate[BoundModel, P], R]: ...


def _delegated(name: str, known: Collection[str]) -> Any:  # noqa: ANN401 - the checkers read `_without_model`
    def verb(self: BoundModel, *arguments: object, **settings: object) -> object:
        config = self._config  # pyright: ignore[reportPrivateUsage]
        call: Callable[..., object] = getattr(self._client, name)  # pyright: ignore[reportPrivateUsage]
        ready = any(isinstance(each, ConverseRequest) for each in (*arguments, settings.get("messages")))
        return call(config.model, *arguments, **config.under(settings, HOW_SENT if ready else known))

    verb.__name__ = name
    verb.__qualname__ = f"BoundModel.{name}"
    verb.__doc__ = f"Do what `BedrockClient.{name}` does, for this model and with its settings."
    return verb


class BoundModel:
    """One model of a client, with its own settings; it has the client's verbs, without their argument ``model``.

    ::

        model = client.model("us.anthropic.claude-sonnet-4-6", system="Be brief.", temperature=0.7)
        reply = await model.converse("Say hello.")
        model.update_config(temperature=0.3)

    What a call passes overrides the settings of the model, and these override the client's defaults; in
    ``model_profile`` each fact by itself. Verbs that are not about a conversation use the settings that they know. A
    ready `ConverseRequest` is sent as it is: only settings that say how it is sent apply to it.

    `BedrockClient.model` makes one. It may be used by any number of tasks at once, and holds the client without
    closing it.
    """

    __slots__ = ("_client", "_config")

    def __init__(self, client: BedrockClient, model: str, settings: Mapping[str, Any]) -> None:
        self._client = client
        self._config = _changed(model, {}, settings, verb="model")

    def __repr__(self) -> str:
        return f"BoundModel({self._config.model!r}, {', '.join(self._config.settings) or 'no settings'})"

    # -- settings

    @property
    def id(self) -> str:
        """The model's id, inference-profile id or ARN."""
        return self._config.model

    @property
    def client(self) -> BedrockClient:
        """The client that calls go through."""
        return self._client

    @property
    def config(self) -> dict[str, Any]:
        """The settings of the model, and ``model``, its id, as a copy: what `update_config` takes."""
        config = self._config
        return {"model": config.model, **copied(config.settings)}

    def update_config(self, *, model: KnownModelId | str | None = None, **settings: Unpack[CallSettings]) -> None:
        """Change settings for the calls made from now on; None removes one, so that the client's default applies.

        Either all changes take effect, at once, or none, when one is refused. Calls and streams that have begun keep
        the settings they began with. Raises InvalidRequestError or InvalidModelIdError.
        """
        current = self._config
        changes = cast("Mapping[str, Any]", settings)
        name = current.model if model is None else model
        self._config = _changed(name, current.settings, changes, verb="update_config")

    def with_settings(self, *, model: KnownModelId | str | None = None, **settings: Unpack[CallSettings]) -> BoundModel:
        """Return another bound model with these changes; later changes to one do not touch the other."""
        other = BoundModel(self._client, self._config.model, self._config.settings)
        other.update_config(model=model, **settings)
        return other

    # -- verbs

    async def converse(
        self, messages: Messages | ConverseRequest, **settings: Unpack[CallSettings]
    ) -> ConverseResponse:
        """Do what `BedrockClient.converse` does, for this model and with its settings."""
        model, sent, effective = self._asked(messages, settings)
        return await self._client.converse(model, sent, **effective)

    @overload
    def stream(
        self,
        messages: Messages | ConverseRequest,
        *,
        output_type: type[T] | OutputType[T],
        output_mode: OutputMode | None = None,
        **settings: Unpack[UntypedSettings],
    ) -> OutputStream[T]: ...

    @overload
    def stream(
        self,
        messages: Messages | ConverseRequest,
        *,
        output_type: Mapping[str, Any],
        output_mode: OutputMode | None = None,
        **settings: Unpack[UntypedSettings],
    ) -> OutputStream[Any]: ...

    @overload
    def stream(self, messages: Messages | ConverseRequest, **settings: Unpack[CallSettings]) -> ResponseStream: ...

    def stream(self, messages: Messages | ConverseRequest, **settings: Any) -> ResponseStream:
        """Do what `BedrockClient.stream` does, for this model and with its settings."""
        model, sent, effective = self._asked(messages, settings)
        stream: ResponseStream = self._client.stream(model, sent, **effective)
        return stream

    @overload
    async def parse(
        self,
        messages: Messages | ConverseRequest,
        *,
        output_type: type[T] | OutputType[T],
        output_mode: OutputMode | None = None,
        max_repairs: int = 1,
        **settings: Unpack[UntypedSettings],
    ) -> Output[T]: ...

    @overload
    async def parse(
        self,
        messages: Messages | ConverseRequest,
        *,
        output_type: object,
        output_mode: OutputMode | None = None,
        max_repairs: int = 1,
        **settings: Unpack[UntypedSettings],
    ) -> Output[Any]: ...

    async def parse(
        self, messages: Messages | ConverseRequest, *, output_type: object, max_repairs: int = 1, **settings: Any
    ) -> Output[Any]:
        """Do what `BedrockClient.parse` does, for this model and with its settings."""
        model, sent, effective = self._asked(messages, settings)
        effective.pop("output_type", None)
        return await self._client.parse(model, sent, output_type=output_type, max_repairs=max_repairs, **effective)

    def run_tools(
        self,
        messages: Messages | ConverseRequest,
        *,
        max_rounds: int = 10,
        max_concurrency: int = 8,
        tool_timeout_s: float | None = None,
        on_tool_error: OnToolError = "return",
        deps: object = None,
        **settings: Unpack[UntypedSettings],
    ) -> ToolLoop:
        """Do what `BedrockClient.run_tools` does, for this model and with its settings."""
        model, sent, effective = self._asked(messages, settings, UntypedSettings.__annotations__, {"tools"})
        return self._client.run_tools(
            model,
            sent,
            max_rounds=max_rounds,
            max_concurrency=max_concurrency,
            tool_timeout_s=tool_timeout_s,
            on_tool_error=on_tool_error,
            deps=deps,
            **effective,
        )

    def prepare(self, messages: Messages, **settings: Unpack[CallSettings]) -> ConverseRequest:
        """Return the request that `converse` and `stream` would send for these arguments; nothing is sent."""
        model, _, effective = self._asked(messages, settings)
        return self._client.prepare(model, messages, **effective)

    def plan_cache(self, messages: Messages, **settings: Unpack[CallSettings]) -> CachePlan:
        """Do what `BedrockClient.plan_cache` does, for this model and with its settings."""
        model, _, effective = self._asked(messages, settings)
        return self._client.plan_cache(model, messages, **effective)

    async def count_tokens(
        self,
        messages: Messages | ConverseRequest | None = None,
        *,
        body: NativeBody | None = None,
        breakdown: bool = False,
        estimate: Estimate | None = None,
        **settings: Unpack[CallSettings],
    ) -> TokenCount:
        """Do what `BedrockClient.count_tokens` does, for this model and with its settings."""
        known = CallSettings.__annotations__ if body is None else HOW_SENT
        model, sent, effective = self._asked(messages, settings, known)
        return await self._client.count_tokens(
            model, sent, body=body, breakdown=breakdown, estimate=estimate, **effective
        )

    if TYPE_CHECKING:
        from .client import BedrockClient as _Client

        estimate_cost = _without_model(_Client.estimate_cost)
        invoke = _without_model(_Client.invoke)
        invoke_stream = _without_model(_Client.invoke_stream)
        invoke_bidirectional = _without_model(_Client.invoke_bidirectional)
        embed = _without_model(_Client.embed)
        rerank = _without_model(_Client.rerank)
        generate_image = _without_model(_Client.generate_image)
        generate_video = _without_model(_Client.generate_video)
        start_async_invoke = _without_model(_Client.start_async_invoke)
    else:
        estimate_cost = _delegated("estimate_cost", CallSettings.__annotations__)
        invoke = _delegated("invoke", InvokeSettings.__annotations__)
        invoke_stream = _delegated("invoke_stream", InvokeSettings.__annotations__)
        invoke_bidirectional = _delegated("invoke_bidirectional", BidirectionalSettings.__annotations__)
        embed = _delegated("embed", TaskSettings.__annotations__)
        rerank = _delegated("rerank", TaskSettings.__annotations__)
        generate_image = _delegated("generate_image", TaskSettings.__annotations__)
        generate_video = _delegated("generate_video", {*_CONNECTION, "provider_options"})
        start_async_invoke = _delegated("start_async_invoke", _CONNECTION)

    # -- conversations

    def conversation(self, messages: Messages = (), **settings: Unpack[CallSettings]) -> Conversation:
        """Return a conversation with this model that begins with ``messages``.

        With settings it gets its own bound model, `Conversation.model`, which later changes to this one do not reach.
        Raises InvalidRequestError.
        """
        from .conversation import Conversation

        return Conversation(self.with_settings(**settings) if settings else self, messages)

    # -- inside

    def _asked(
        self,
        messages: Any,  # noqa: ANN401 - as the verbs have it
        call: Mapping[str, Any],
        known: Collection[str] = CallSettings.__annotations__,
        with_ready: Collection[str] = (),
    ) -> tuple[str, Any, dict[str, Any]]:
        """Return model, messages and keywords of one call, all of them from one moment.

        Only settings of the model that are ``known`` apply; beside a ready request, only those that say how it is sent,
        and ``with_ready``.
        """
        config = self._config
        if not isinstance(messages, ConverseRequest):
            return config.model, messages, config.under(call, known)
        effective = config.under(call, {*HOW_SENT, *with_ready})
        if messages.model_id is not None and messages.model_id == effective.get("inference_profile"):
            messages = messages.model_copy(update={"model_id": config.model})  # as `prepare` made it
        return config.model, messages, effective


def _changed(model: str, settings: Mapping[str, Any], changes: Mapping[str, Any], *, verb: str) -> _Config:
    """Return a changed configuration. Raises InvalidRequestError or InvalidModelIdError."""
    check_names(changes, verb=verb)
    check_options(changes.get("timeouts"), changes.get("retry"))
    return _Config(parse_model_id(model).raw, changed_settings(settings, changes))
