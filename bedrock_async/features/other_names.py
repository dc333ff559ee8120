"""What the keywords of other libraries are called here: a name that is only near would lead astray."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

_BOTO3: Final = {
    "additionalModelRequestFields": "additional_request_fields={...}",
    "additionalModelResponseFieldPaths": "additional_response_field_paths=[...]",
    "guardrailConfig": "guardrail={...}",
    "inferenceConfig": "max_tokens=, temperature=, top_p= and stop_sequences=",
    "modelId": 'model="id"',
    "outputConfig": "output_type=, effort=, or extra_body={'outputConfig': {...}}",
    "performanceConfig": "performance='optimized'",
    "promptVariables": "prompt_variables={'name': 'text'}",
    "serviceTier": "service_tier='flex'",
    "toolConfig": "tools=[...] and tool_choice=",
}

_STRANDS: Final = {
    "additional_args": "extra_body={...}",
    "boto_client_config": "it to BedrockClient.from_botocore_config(...)",
    "boto_session": "BedrockClient(session=...)",
    "cache_config": 'cache=CacheConfig(strategy="auto")',
    "cache_prompt": "cache=CacheConfig(system=True)",
    "cache_tools": "cache=CacheConfig(tools=True)",
    "guardrail_id": 'guardrail=GuardrailSettings("gr-id", "1")',
    "guardrail_redact_input": 'guardrail=GuardrailSettings("gr-id", "1", redact_input=...)',
    "guardrail_redact_input_message": 'guardrail=GuardrailSettings("gr-id", "1", redact_input_message=...)',
    "guardrail_redact_output": 'guardrail=GuardrailSettings("gr-id", "1", redact_output=...)',
    "guardrail_redact_output_message": 'guardrail=GuardrailSettings("gr-id", "1", redact_output_message=...)',
    "guardrail_stream_processing_mode": 'guardrail=GuardrailSettings("gr-id", "1", stream_processing_mode=...)',
    "guardrail_trace": 'guardrail=GuardrailSettings("gr-id", "1", trace=...)',
    "guardrail_version": 'guardrail=GuardrailSettings("gr-id", "1")',
    "model_id": 'model="id"',
    "region_name": "BedrockClient(region=...)",
    "system_prompt": 'system="..."',
}

_PYDANTIC_AI: Final = {
    "bedrock_additional_model_requests_fields": "additional_request_fields={...}",
    "bedrock_additional_model_response_fields_paths": "additional_response_field_paths=[...]",
    "bedrock_cache_instructions": "cache=CacheConfig(system=...)",
    "bedrock_cache_messages": "cache=CacheConfig(messages=...)",
    "bedrock_cache_tool_definitions": "cache=CacheConfig(tools=...)",
    "bedrock_guardrail_config": "guardrail={...}",
    "bedrock_inference_profile": 'inference_profile="id or ARN"',
    "bedrock_performance_configuration": "performance='optimized'",
    "bedrock_prompt_variables": "prompt_variables={'name': 'text'}",
    "bedrock_request_metadata": "request_metadata={...}",
    "bedrock_service_tier": "service_tier='flex'",
    "instructions": 'system="..."',
    "parallel_tool_calls": "parallel_tools=False",
    "timeout": "timeouts=Timeouts(total_s=60)",
}

_ELSEWHERE: Final = {
    "additional_model_request_fields": "additional_request_fields={...}",
    "additional_model_response_field_paths": "additional_response_field_paths=[...]",
    "functions": "tools=[...]",
    "guardrail_config": "guardrail={...}",
    "inference_config": "max_tokens=, temperature=, top_p= and stop_sequences=",
    "max_completion_tokens": "max_tokens=500",
    "max_output_tokens": "max_tokens=500",
    "max_retries": "retry=StandardRetry(max_attempts=3)",
    "output_config": "output_type=, effort=, or extra_body={'outputConfig': {...}}",
    "performance_config": "performance='optimized'",
    "reasoning_config": 'reasoning=Reasoning(effort="high")',
    "reasoning_effort": 'reasoning=Reasoning(effort="high")',
    "response_format": "Call client.parse(model, messages, output_type=...).",
    "response_model": "Call client.parse(model, messages, output_type=...).",
    "stream": "Call client.stream(model, messages).",
    "structured_output": "Call client.parse(model, messages, output_type=...).",
    "thinking": "reasoning=Reasoning(budget_tokens=4096)",
    "tool_config": "tools=[...] and tool_choice=",
}

_MODELS: Final = {
    name: f"additional_request_fields={{{name!r}: ...}}"
    for name in ("frequency_penalty", "logit_bias", "presence_penalty", "seed", "top_k")
}

OTHER_NAMES: Final[Mapping[str, tuple[str, str]]] = MappingProxyType(
    {
        **{
            name: ("boto3's", f"{here}; or a whole request, ConverseRequest.from_dict(...)")
            for name, here in _BOTO3.items()
        },
        **{name: ("Strands'", here) for name, here in _STRANDS.items()},
        **{name: ("Pydantic AI's", here) for name, here in _PYDANTIC_AI.items()},
        **{name: ("another library's", here) for name, here in _ELSEWHERE.items()},
        **{name: ("some models' own", here) for name, here in _MODELS.items()},
    }
)
"""Whose a keyword of a call is, and what to pass in its place."""

_KEYS: Final = "credentials=Credentials(access_key_id, secret_access_key, session_token)"

OTHER_CLIENT_NAMES: Final[Mapping[str, tuple[str, str]]] = MappingProxyType(
    {
        "api_version": ("boto3's", "nothing: there is one version"),
        "aws_access_key_id": ("boto3's", _KEYS),
        "aws_bearer_token": ("another library's", 'api_key="..."'),
        "aws_bearer_token_bedrock": ("another library's", 'api_key="..."'),
        "aws_profile": ("another library's", 'profile="..."'),
        "aws_region": ("another library's", 'region="us-east-1"'),
        "aws_secret_access_key": ("boto3's", _KEYS),
        "aws_session_token": ("boto3's", _KEYS),
        "base_url": ("another library's", 'endpoint_url="https://..."'),
        "bearer_token": ("another library's", 'api_key="..."'),
        "bedrock_client": ("Pydantic AI's", "session=, with the session that created the client"),
        "boto3_session": ("another library's", "session=..."),
        "boto_client_config": ("Strands'", "it to BedrockClient.from_botocore_config(...)"),
        "boto_session": ("Strands'", "session=..."),
        "ca_bundle": ("another library's", 'connection=ConnectionOptions(ca_bundle="...")'),
        "config": ("boto3's", "it to BedrockClient.from_botocore_config(...)"),
        "connect_timeout": ("botocore's", "timeouts=Timeouts(connect_s=5)"),
        "http_client": ("another library's", "transport=..."),
        "max_attempts": ("another library's", "retry=StandardRetry(max_attempts=...)"),
        "max_connections": ("another library's", "limits=Limits(max_connections=...)"),
        "max_pool_connections": ("botocore's", "limits=Limits(max_connections=...)"),
        "max_retries": ("another library's", "retry=StandardRetry(max_attempts=...)"),
        "model": ("a call's", "it to each call, or use client.model(id)"),
        "model_id": ("Strands'", "it to each call, or use client.model(id)"),
        "profile_name": ("boto3's", 'profile="..."'),
        "proxies": ("botocore's", "connection=ConnectionOptions(proxies={...})"),
        "read_timeout": ("botocore's", "timeouts=Timeouts(first_event_s=60, idle_s=60)"),
        "region_name": ("boto3's", 'region="us-east-1"'),
        "retries": ("botocore's", "retry=StandardRetry(max_attempts=...)"),
        "timeout": ("another library's", "timeouts=Timeouts(total_s=60)"),
        "use_dualstack_endpoint": ("botocore's", "connection=ConnectionOptions(use_dualstack=True)"),
        "use_fips_endpoint": ("botocore's", "connection=ConnectionOptions(use_fips=True)"),
        "use_ssl": ("boto3's", 'endpoint_url="https://..."'),
        "user_agent": ("botocore's", 'connection=ConnectionOptions(user_agent="...")'),
        "user_agent_extra": ("botocore's", 'connection=ConnectionOptions(user_agent_extra="...")'),
        "verify": ("boto3's", 'connection=ConnectionOptions(ca_bundle="...")'),
    }
)
"""The same for a keyword of a client."""
