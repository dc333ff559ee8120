"""The family fulfils the contract of model families, and works through a client."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import ClassVar

from bedrock_async_example import ExampleFamily

from bedrock_async import BedrockClient, Credentials
from bedrock_async.families import ModelFamily
from bedrock_async.testing import BedrockEmulator, FamilyContract, FamilySample, ReceivedRequest, Script, ScriptedModel

MODEL = "example.chat-1"

# What the vendor's documentation shows, or better: what was recorded.
SAMPLE = FamilySample(
    model=MODEL,
    request={
        "system": [{"text": "Be brief."}],
        "messages": [{"role": "user", "content": [{"text": "Say hello."}]}],
        "inferenceConfig": {"maxTokens": 20, "temperature": 0.0},
    },
    native_request={
        "system": "Be brief.",
        "turns": [{"who": "user", "says": "Say hello."}],
        "limit": 20,
        "temperature": 0.0,
    },
    native_response={"says": "Hello.", "ended": "done", "counted": {"in": 9, "out": 2}},
    chunks=({"says": "Hel"}, {"says": "lo."}, {"says": "", "ended": "done", "counted": {"in": 9, "out": 2}}),
    text="Hello.",
    stop_reason="end_turn",
    input_tokens=9,
    output_tokens=2,
)


class TestExample(FamilyContract):
    samples: ClassVar[Sequence[FamilySample]] = (SAMPLE,)

    def family(self) -> ModelFamily:
        """The family under test; the tests are inherited."""
        return ExampleFamily()


def native(request: ReceivedRequest) -> Script:
    """Return what the service responds with: a body, or chunks."""
    whole = request.operation == "InvokeModel"
    return [dict(SAMPLE.native_response or {})] if whole else [dict(chunk) for chunk in SAMPLE.chunks]


def test_it_answers_through_a_client() -> None:
    """Over HTTP, whole and streamed, with the emulator in place of the service."""

    async def ask() -> tuple[str, str]:
        async with (
            BedrockEmulator([ScriptedModel([], native=native)]) as emulator,
            BedrockClient(
                region="us-east-1",
                endpoint_url=emulator.url,
                credentials=Credentials("any", "key"),
                families={"example": ExampleFamily()},
            ) as client,
        ):
            reply = await client.converse(MODEL, "Say hello.", provider="invoke")
            async with client.stream(MODEL, "Say hello.", provider="invoke") as stream:
                streamed = await stream.get_final_response()
        return reply.text, streamed.text

    assert asyncio.run(ask()) == ("Hello.", "Hello.")
