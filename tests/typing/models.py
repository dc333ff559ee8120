"""Model ids as type checkers and editors see them: this file is checked, never run."""

# pyright: strict, reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

from typing import assert_type

from bedrock_async import (
    BedrockClient,
    CallSettings,
    ConverseResponse,
    FoundationModel,
    InferenceProfile,
    KnownModelId,
    ModelAccess,
    ModelId,
    ResolvedModel,
    default_model,
)

KNOWN: KnownModelId = "us.amazon.nova-lite-v1:0"
MISSPELT: KnownModelId = "us.amazon.nova-light-v1:0"  # type: ignore[assignment]


async def any_id(client: BedrockClient, model: str, known: KnownModelId) -> None:
    """Known ids are offered, and every other text is as good."""
    assert_type(await client.converse(known, "Hello"), ConverseResponse)
    await client.converse(model, "Hello", inference_profile="us.amazon.nova-lite-v1:0")
    await client.converse("my.own-model", "Hello", inference_profile=model)
    await client.converse(default_model("eu-west-1"), "Hello")
    await client.invoke(known, {}, inference_profile=known)
    client.prepare(known, "Hello")
    settings: CallSettings = {"inference_profile": known}
    client.stream(model, "Hello", **settings)
    assert_type(default_model("eu-west-1"), KnownModelId)


async def control_plane(client: BedrockClient) -> None:
    """What the control plane's verbs return."""
    models = await client.list_models(output_modality="TEXT", provider="Amazon", access=True)
    assert_type(models, list[FoundationModel])
    assert_type(models[0].access, ModelAccess | None)
    await client.list_models(output_modality="SMELL")
    assert_type(await client.list_inference_profiles(type="APPLICATION"), list[InferenceProfile])
    resolved = await client.resolve_model("arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc")
    assert_type(resolved, ResolvedModel)
    assert_type(resolved.base_model, ModelId)
    assert_type(resolved.profile, InferenceProfile | None)


async def mistakes(client: BedrockClient) -> None:
    """What a checker must refuse."""
    await client.list_models("Amazon")  # type: ignore[call-arg]
    await client.resolve_model(5)  # type: ignore[arg-type]
    await client.converse("model", "Hello", inference_profile=5)  # type: ignore[call-overload]
