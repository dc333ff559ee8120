"""The built-in providers keep the public contract of providers; so would a stranger's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Final

from acme import Acme
from corpus import Exchange, exchanges

from bedrock_async import ConverseRequest
from bedrock_async.providers import HttpResponse, Provider
from bedrock_async.providers.converse import ConverseProvider
from bedrock_async.providers.invoke import InvokeProvider
from bedrock_async.testing import ProviderContract, ProviderSample, chunk_frame

_RECORDED: Final = [
    exchange
    for exchange in [*exchanges("converse", 200), *exchanges("converse-stream", 200)]
    if exchange.request_body and {"tool_use_response", "reasoning_response"} & exchange.features
][:40:4]


def sample(exchange: Exchange) -> ProviderSample:
    """A recorded exchange as a sample."""
    headers = {name.lower(): value for name, value in exchange.response_headers.items()}
    request = ConverseRequest.from_wire(exchange.request_body)
    if exchange.kind == "converse":
        said = exchange.response_json
        answer = HttpResponse(200, {"content-type": "application/json", **headers}, exchange.response_body)
        uses = [block["toolUse"] for block in said["output"]["message"]["content"] if "toolUse" in block]
        return ProviderSample(
            model=exchange.model_id,
            request=request,
            answers=(answer,),
            tool_uses=[(use["name"], use["input"]) for use in uses if use.get("type") != "server_tool_use"],
            stop_reason=said["stopReason"],
            input_tokens=said["usage"]["inputTokens"],
        )
    return ProviderSample(
        model=exchange.model_id, request=request, stream_body=exchange.response_body, stream_headers=headers
    )


class TestConverse(ProviderContract):
    samples: ClassVar[Sequence[ProviderSample]] = (
        *(sample(exchange) for exchange in _RECORDED),
        sample(next(iter(exchanges("converse-stream", 200)))),
    )

    def provider(self) -> Provider:
        """The default one."""
        return ConverseProvider()


class TestInvoke(ProviderContract):
    samples: ClassVar[Sequence[ProviderSample]] = (
        ProviderSample(
            model="us.acme.chat-1",
            family=Acme(),
            answers=(
                HttpResponse(
                    200, {"content-type": "application/json"}, b'{"text":"Hi.","finish":"stop","tokens":[1,2]}'
                ),
            ),
            stream_body=chunk_frame({"text": "H"}) + chunk_frame({"text": "i.", "finish": "stop", "tokens": [1, 2]}),
            text="Hi.",
            stop_reason="end_turn",
            input_tokens=1,
            output_tokens=2,
        ),
    )

    def provider(self) -> Provider:
        """The native one."""
        return InvokeProvider()
