"""Every vendor's family keeps the public contract of model families."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.metadata import entry_points
from typing import Any, ClassVar, Final

import bedrock_async_chatforms as chatforms
import pytest

from bedrock_async.families import ModelFamily
from bedrock_async.families.registry import GROUP, known_distribution
from bedrock_async.testing import FamilyContract, FamilySample

VENDORS: Final[dict[str, Callable[[], ModelFamily]]] = {
    "google": chatforms.google,
    "minimax": chatforms.minimax,
    "moonshot": chatforms.moonshot,
    "moonshotai": chatforms.moonshotai,
    "nvidia": chatforms.nvidia,
    "writer": chatforms.writer,
    "zai": chatforms.zai,
}
WEATHER: Final[dict[str, Any]] = {"type": "object", "properties": {"city": {"type": "string"}}}


def chunk(reason: str | None = None, **delta: Any) -> dict[str, Any]:  # noqa: ANN401 - any delta
    """One chunk of a chat completion."""
    choice = {"index": 0, "delta": delta, "finish_reason": reason}
    return {"object": "chat.completion.chunk", "choices": [choice]}


def tool_use(model: str, reasoning: str) -> FamilySample:
    """An answer that uses a tool, in the form that all of them share; ``reasoning`` as InvokeModel writes it."""
    call = {"id": "call-1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city": "Paris"}'}}
    return FamilySample(
        model=model,
        request={
            "messages": [{"role": "user", "content": [{"text": "What is the weather in Paris?"}]}],
            "inferenceConfig": {"maxTokens": 300},
            "toolConfig": {
                "tools": [{"toolSpec": {"name": "get_weather", "inputSchema": {"json": WEATHER}}}],
                "toolChoice": {"any": {}},
            },
        },
        native_request={
            "messages": [{"role": "user", "content": "What is the weather in Paris?"}],
            "max_tokens": 300,
            "tools": [{"type": "function", "function": {"name": "get_weather", "parameters": WEATHER}}],
            "tool_choice": "required",
        },
        native_response={
            "object": "chat.completion",
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": f"{reasoning}I look.", "tool_calls": [call]},
                    "finish_reason": "tool_calls",
                }
            ],
            "usage": {"prompt_tokens": 20, "completion_tokens": 9, "total_tokens": 29},
        },
        chunks=(
            chunk(role="assistant", content=""),
            chunk(content=reasoning),
            chunk(content="I look."),
            chunk(tool_calls=[{"index": 0, **call, "function": {"name": "get_weather", "arguments": '{"ci'}}]),
            chunk(tool_calls=[{"index": 0, "function": {"arguments": 'ty": "Paris"}'}}]),
            chunk("tool_calls"),
            {"choices": [], "usage": {"prompt_tokens": 20, "completion_tokens": 9, "total_tokens": 29}},
        ),
        text="I look.",
        reasoning=reasoning.replace("<reasoning>", "").replace("</reasoning>", ""),
        tool_uses=[("get_weather", {"city": "Paris"})],
        stop_reason="tool_use",
        input_tokens=20,
        output_tokens=9,
    )


# The text of the Bedrock user guide's page "Writer Palmyra X5", shortened.
PALMYRA: Final = FamilySample(
    model="us.writer.palmyra-x5-v1:0",
    request={"messages": [{"role": "user", "content": [{"text": "Explain quantum computing in simple terms"}]}]},
    native_request={
        "messages": [{"role": "user", "content": "Explain quantum computing in simple terms"}],
        "max_tokens": 8192,
    },
    native_response={
        "id": "chatcmpl-a689a6e150b048ca8814890d3d904d41",
        "object": "chat.completion",
        "created": 1745854231,
        "model": "writer.palmyra-x5-v1:0",
        "choices": [
            {
                "index": 0,
                "message": {
                    "role": "assistant",
                    "reasoning_content": None,
                    "content": "Quantum computing harnesses quantum mechanics.",
                    "tool_calls": [],
                },
                "logprobs": None,
                "finish_reason": "stop",
                "stop_reason": None,
            }
        ],
        "usage": {
            "prompt_tokens": 43,
            "total_tokens": 186,
            "completion_tokens": 143,
            "prompt_tokens_details": None,
        },
        "prompt_logprobs": None,
    },
    text="Quantum computing harnesses quantum mechanics.",
    stop_reason="end_turn",
    input_tokens=43,
    output_tokens=143,
)

THOUGHT: Final = "<reasoning>I need the </reasoning><reasoning>tool.</reasoning>"


class TestGoogle(FamilyContract):
    samples: ClassVar[Sequence[FamilySample]] = (tool_use("google.gemma-3-27b-it", ""),)

    def family(self) -> ModelFamily:
        """Return the family of Gemma."""
        return chatforms.google()


class TestMiniMax(FamilyContract):
    samples: ClassVar[Sequence[FamilySample]] = (tool_use("minimax.minimax-m2.5", THOUGHT),)

    def family(self) -> ModelFamily:
        """Return the family of M2."""
        return chatforms.minimax()


class TestMoonshot(FamilyContract):
    samples: ClassVar[Sequence[FamilySample]] = (tool_use("moonshot.kimi-k2-thinking", THOUGHT),)

    def family(self) -> ModelFamily:
        """Return the family of Kimi K2 Thinking."""
        return chatforms.moonshot()


class TestMoonshotAI(FamilyContract):
    samples: ClassVar[Sequence[FamilySample]] = (tool_use("global.moonshotai.kimi-k3", THOUGHT),)

    def family(self) -> ModelFamily:
        """Return the family of Kimi K2.5 and K3."""
        return chatforms.moonshotai()


class TestNVIDIA(FamilyContract):
    samples: ClassVar[Sequence[FamilySample]] = (tool_use("nvidia.nemotron-super-3-120b", THOUGHT),)

    def family(self) -> ModelFamily:
        """Return the family of Nemotron."""
        return chatforms.nvidia()


class TestWriter(FamilyContract):
    samples: ClassVar[Sequence[FamilySample]] = (PALMYRA, tool_use("us.writer.palmyra-x4-v1:0", ""))

    def family(self) -> ModelFamily:
        """Return the family of Palmyra."""
        return chatforms.writer()


class TestZAI(FamilyContract):
    samples: ClassVar[Sequence[FamilySample]] = (tool_use("zai.glm-5", THOUGHT),)

    def family(self) -> ModelFamily:
        """Return the family of GLM."""
        return chatforms.zai()


def test_every_vendor_has_its_entry_point() -> None:
    """Each vendor's models are found once the distribution is installed, and only then."""
    points = {
        point.name: point
        for point in entry_points(group=GROUP)
        if point.dist is not None and point.dist.name == "bedrock-async-chatforms"
    }
    assert points.keys() == VENDORS.keys()
    assert {name: point.load() for name, point in points.items()} == VENDORS


@pytest.mark.parametrize("vendor", VENDORS)
def test_the_library_names_the_package_and_claims_no_evidence(vendor: str) -> None:
    """Without the family, the error says what to install; with it, `verified` says that no recording tests it."""
    assert known_distribution(vendor) == "bedrock-async-chatforms"
    family = VENDORS[vendor]()
    assert (family.name, family.verified) == (vendor, False)
