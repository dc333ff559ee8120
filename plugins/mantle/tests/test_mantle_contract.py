"""The provider keeps the public contract of providers, with recorded answers of both APIs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Final

from bedrock_async_mantle import MantleProvider
from corpus import exchange

from bedrock_async.providers import HttpResponse, Provider
from bedrock_async.testing import ProviderContract, ProviderSample

STREAMS: Final[list[dict[str, Any]]] = json.loads((Path(__file__).parent / "data" / "streams.json").read_bytes())
HEAD: Final[Mapping[str, str]] = {"content-type": "text/event-stream"}
WEATHER: Final[Mapping[str, Any]] = {
    "messages": [{"role": "user", "content": [{"text": "What's the weather in Berlin? Use the weather tool."}]}],
    "toolConfig": {
        "tools": [{"toolSpec": {"name": "bedrock_mantle_weather", "inputSchema": {"json": {"type": "object"}}}}]
    },
}
CHUNKS: Final[Sequence[Mapping[str, Any]]] = (
    {"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}]},
    {"choices": [{"index": 0, "delta": {"reasoning": "One word."}, "finish_reason": None}]},
    {"choices": [{"index": 0, "delta": {"content": "Pa"}, "finish_reason": None}]},
    {"choices": [{"index": 0, "delta": {"content": "ris"}, "finish_reason": None}]},
    {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], "usage": None},
    {"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}},
)
CHAT_STREAM: Final = b"".join(b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in CHUNKS)


def recorded(stem: str) -> HttpResponse:
    """Return a recorded answer of the corpus."""
    return HttpResponse(
        200, {"content-type": "application/json"}, exchange(f"other__mantle__200__{stem}").response_body
    )


class TestMantle(ProviderContract):
    """Whole answers as recorded; streams of the Responses API as recorded, of chat completions as captured."""

    samples: ClassVar[Sequence[ProviderSample]] = (
        ProviderSample(
            model="openai.gpt-oss-20b",
            options={"api": "responses"},
            request=WEATHER,
            answers=[recorded("6fb41655c2afc70d")],
            stream_body=exchange("other__mantle__200__3188bc6c923acf7f").response_body,
            stream_headers=HEAD,
        ),
        ProviderSample(
            model="openai.gpt-oss-20b",
            options={"api": "responses"},
            request=WEATHER,
            answers=[recorded("6fb41655c2afc70d")],
            text="",
            tool_uses=[("bedrock_mantle_weather", {"city": "Berlin"})],
            stop_reason="tool_use",
        ),
        ProviderSample(
            model="openai.gpt-oss-20b",
            options={"api": "responses"},
            stream_body=exchange("other__mantle__200__3188bc6c923acf7f").response_body,
            stream_headers=HEAD,
            text="Sure! Here\u2019s a quick count:\n\n1  \n2  \n3  \n4  \n5",
            reasoning="We simply count: 1, 2, 3, 4, 5.",
            stop_reason="end_turn",
            input_tokens=75,
            output_tokens=46,
        ),
        ProviderSample(
            model="openai.gpt-5.6-luna",
            stream_body=STREAMS[1]["response_body"].encode(),
            stream_headers=HEAD,
            tool_uses=[("second_tool", {})],
            stop_reason="tool_use",
        ),
        ProviderSample(
            model="openai.gpt-oss-safeguard-20b",
            answers=[recorded("7483429271ad78c0")],
            text="SAFE",
            stop_reason="end_turn",
            input_tokens=72,
            output_tokens=56,
        ),
        ProviderSample(
            model="zai.glm-5",
            stream_body=CHAT_STREAM + b"data: [DONE]\n\n",
            stream_headers=HEAD,
            text="Paris",
            reasoning="One word.",
            stop_reason="end_turn",
            input_tokens=7,
            output_tokens=3,
        ),
    )

    def provider(self) -> Provider:
        """Return the provider, which the environment of the tests cannot lead elsewhere."""
        return MantleProvider(environ={})
