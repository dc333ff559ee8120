"""The keywords of a call: where each of them lands, and what a mistake in them says."""

from __future__ import annotations

import inspect
import json
import re
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final
from uuid import uuid4

import pytest
from botocore_reading import invalid_members
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from strategies import JSON_VALUES, damaged, parameters

from bedrock_async import (
    BedrockClient,
    CacheConfig,
    CachePointBlock,
    CallSettings,
    ConverseRequest,
    GuardrailConfig,
    GuardrailSettings,
    ImageBlock,
    InvalidRequestError,
    MediaSource,
    Message,
    Reasoning,
    TextBlock,
    Timeouts,
    ToolChoice,
    ToolConfig,
    UnknownBlock,
)
from bedrock_async._error import a_kind
from bedrock_async.features.operations import BidirectionalSettings, InvokeSettings
from bedrock_async.features.settings import build_request, check_names, merged_settings
from bedrock_async.features.tasks import TaskSettings
from bedrock_async.model_id import parse_model_id
from bedrock_async.providers import CallContext, Send
from bedrock_async.providers.converse import ConverseProvider
from bedrock_async.resilience import NO_RETRY, Continuation
from bedrock_async.types import SpecificToolChoice, ToolInputSchema, ToolSpec

MODEL: Final = "us.amazon.nova-lite-v1:0"
TOOL: Final[dict[str, Any]] = {"toolSpec": {"name": "weather", "inputSchema": {"json": {"type": "object"}}}}
TYPED_TOOL: Final = ToolSpec(name="weather", input_schema=ToolInputSchema(json={"type": "object"}))


def built(messages: Any = "hi", **keywords: Any) -> dict[str, Any]:  # noqa: ANN401 - what a caller might pass
    """Return the request of these keywords in boto3's shape, without model id and messages."""
    request = build_request(MODEL, messages, keywords)
    assert invalid_members("Converse", request.to_dict()) == ""
    members = request.to_dict()
    assert members.pop("modelId") == MODEL
    members.pop("messages")
    return members


def refused(messages: Any = "hi", **keywords: Any) -> InvalidRequestError:  # noqa: ANN401 - what a caller might pass
    """Return the error that these keywords are refused with."""
    with pytest.raises(InvalidRequestError) as caught:
        build_request(MODEL, messages, keywords)
    return caught.value


# -- where each keyword lands


LANDING: Final[list[tuple[dict[str, Any], dict[str, Any]]]] = [
    ({}, {}),
    ({"system": "Be kind."}, {"system": [{"text": "Be kind."}]}),
    (
        {"system": ["a", {"text": "b"}, TextBlock(text="c"), CachePointBlock(type="default")]},
        {"system": [{"text": "a"}, {"text": "b"}, {"text": "c"}, {"cachePoint": {"type": "default"}}]},
    ),
    ({"max_tokens": 100}, {"inferenceConfig": {"maxTokens": 100}}),
    ({"temperature": 0.5, "top_p": 1}, {"inferenceConfig": {"temperature": 0.5, "topP": 1.0}}),
    ({"stop_sequences": ("a", "b")}, {"inferenceConfig": {"stopSequences": ["a", "b"]}}),
    ({"tools": [TOOL]}, {"toolConfig": {"tools": [TOOL]}}),
    ({"tools": (TYPED_TOOL,)}, {"toolConfig": {"tools": [TOOL]}}),
    ({"tools": ToolConfig(tools=[TYPED_TOOL])}, {"toolConfig": {"tools": [TOOL]}}),
    ({"tools": [TOOL], "tool_choice": "auto"}, {"toolConfig": {"tools": [TOOL], "toolChoice": {"auto": {}}}}),
    ({"tools": [TOOL], "tool_choice": "any"}, {"toolConfig": {"tools": [TOOL], "toolChoice": {"any": {}}}}),
    (
        {"tools": [TOOL], "tool_choice": "weather"},
        {"toolConfig": {"tools": [TOOL], "toolChoice": {"tool": {"name": "weather"}}}},
    ),
    (
        {"tools": [TOOL], "tool_choice": {"tool": {"name": "weather"}}},
        {"toolConfig": {"tools": [TOOL], "toolChoice": {"tool": {"name": "weather"}}}},
    ),
    (
        {
            "tools": ToolConfig(tools=[TYPED_TOOL], tool_choice=ToolChoice.from_dict({"auto": {}})),
            "tool_choice": ToolChoice(tool=SpecificToolChoice(name="weather")),
        },
        {"toolConfig": {"tools": [TOOL], "toolChoice": {"tool": {"name": "weather"}}}},
    ),
    (
        {"guardrail": {"guardrailIdentifier": "g", "guardrailVersion": "1", "trace": "enabled"}},
        {"guardrailConfig": {"guardrailIdentifier": "g", "guardrailVersion": "1", "trace": "enabled"}},
    ),
    (
        {"guardrail": GuardrailConfig(guardrail_identifier="g", guardrail_version="DRAFT")},
        {"guardrailConfig": {"guardrailIdentifier": "g", "guardrailVersion": "DRAFT"}},
    ),
    (
        {"guardrail": GuardrailSettings("g", "1", trace="disabled", redact_output=True)},
        {"guardrailConfig": {"guardrailIdentifier": "g", "guardrailVersion": "1", "trace": "disabled"}},
    ),
    (
        {"cache": CacheConfig(system=True), "reasoning": Reasoning(effort="low"), "normalize": False},
        {},  # `settle` does what they ask for
    ),
    ({"effort": "low"}, {"outputConfig": {"effort": "low"}}),
    ({"performance": "optimized"}, {"performanceConfig": {"latency": "optimized"}}),
    ({"service_tier": "flex"}, {"serviceTier": {"type": "flex"}}),
    ({"request_metadata": MappingProxyType({"team": "a"})}, {"requestMetadata": {"team": "a"}}),
    ({"prompt_variables": {"city": "Paris"}}, {"promptVariables": {"city": {"text": "Paris"}}}),
    (
        {"additional_request_fields": MappingProxyType({"top_k": 5, "none": None})},
        {"additionalModelRequestFields": {"top_k": 5, "none": None}},
    ),
    (
        {"additional_response_field_paths": ("/stop_sequence",)},
        {"additionalModelResponseFieldPaths": ["/stop_sequence"]},
    ),
    (
        {"parallel_tools": True},
        {},  # False is what `settle_tool_choice` writes
    ),
    (
        {"output_type": int, "output_mode": "tool"},
        {},  # `first_asked` adds what asks for it
    ),
    (
        {
            "provider": "converse",
            "provider_options": {},
            "inference_profile": "us.amazon.nova-lite-v1:0",
            "model_profile": {"streaming": True},
            "timeouts": Timeouts(),
            "retry": NO_RETRY,
            "continuation": Continuation(),
            "streaming": True,
            "accumulate": False,
        },
        {},
    ),
]


@pytest.mark.parametrize(("keywords", "members"), LANDING)
def test_each_keyword_lands_in_its_member(keywords: dict[str, Any], members: dict[str, Any]) -> None:
    """And what comes out is valid for botocore; keywords of the call itself leave no trace in the request."""
    assert built(**keywords) == members


def test_every_keyword_that_is_sent_is_tested_here() -> None:
    """A new keyword needs a row above."""
    tested = {name for keywords, _ in LANDING for name in keywords}
    assert tested == CallSettings.__annotations__.keys() - {"extra_body"}


@pytest.mark.parametrize("keyword", sorted(CallSettings.__annotations__))
def test_none_is_the_same_as_leaving_a_keyword_out(keyword: str) -> None:
    """For every keyword, in the request and when merged over the client's defaults."""
    assert built(**{keyword: None}) == {}
    assert merged_settings({keyword: 1}, {keyword: None}) == {keyword: 1}


def test_a_call_overrides_the_defaults() -> None:
    """Keyword by keyword; neither mapping is changed."""
    defaults, call = {"max_tokens": 1, "effort": "low"}, {"max_tokens": 2}
    assert merged_settings(defaults, call) == {"max_tokens": 2, "effort": "low"}
    merged = merged_settings(defaults, {})
    merged["max_tokens"] = 3
    assert defaults == {"max_tokens": 1, "effort": "low"}


# -- messages


@pytest.mark.parametrize(
    "messages",
    [
        "hi",
        [{"role": "user", "content": [{"text": "hi"}]}],
        ({"role": "user", "content": ({"text": "hi"},)},),
        [Message(role="user", content=[TextBlock(text="hi")])],
        [{"role": "user", "content": [TextBlock(text="hi")]}],
        [MappingProxyType({"role": "user", "content": [MappingProxyType({"text": "hi"})]})],
    ],
)
def test_messages_are_text_dicts_or_objects(messages: Any) -> None:  # noqa: ANN401 - what a caller might pass
    """All forms make the same request, and mix freely."""
    request = build_request(MODEL, messages, {})
    assert request.to_wire() == {"messages": [{"role": "user", "content": [{"text": "hi"}]}]}
    assert request.model_id == MODEL


def test_an_object_among_dicts_is_sent_as_it_is() -> None:
    """Typed messages are neither copied nor read again."""
    turn = Message(role="assistant", content=[TextBlock(text="b")])
    request = build_request(MODEL, [{"role": "user", "content": [{"text": "a"}]}, turn], {})
    assert request.messages is not None
    assert request.messages[1] is turn


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(parameters("ConverseRequest"))
def test_messages_of_boto3_are_taken_as_they_are(members: dict[str, Any]) -> None:
    """Any valid history for boto3 is a valid history here, and leaves as the same parameters."""
    messages = [{**message, "role": "user"} for message in members.get("messages", [])]
    assert build_request(MODEL, messages, {}).to_dict() == {"modelId": MODEL, "messages": messages}


@pytest.mark.parametrize(
    "messages", [None, 5, {"role": "user"}, Message(role="user", content=[]), b"hi", object(), {1}]
)
def test_what_is_no_list_of_messages_is_refused(messages: object) -> None:
    """One message alone, bytes, or nothing: the error shows both forms that are right."""
    error = refused(messages)
    assert error.path == "messages"
    assert 'Pass "a question" or [{"role"' in str(error)


@pytest.mark.parametrize(
    ("role", "hint"),
    [
        ("User", "Did you mean 'user'?"),
        ("asistant", "Did you mean 'assistant'?"),
        ("tool", "Tool results are content of a user message."),
        (None, "Tool results"),
        (5, "Tool results"),
        ([], "Tool results"),
    ],
)
def test_a_role_that_is_none_is_named_with_its_place(role: object, hint: str) -> None:
    """The path, the value, what is allowed, and the nearest of it."""
    error = refused([{"role": "user", "content": []}, {"role": role, "content": []}])
    assert error.path == "messages[1].role"
    assert f"messages[1].role is {role!r}; it must be one of user, assistant, system." in str(error)
    assert hint in str(error)


@pytest.mark.parametrize("message", ["hi", None, 5, [], object()])
def test_what_is_no_message_is_named_with_its_place_and_type(message: object) -> None:
    """A list of texts is no list of messages; nor is a dataclass a message, whatever its fields."""
    error = refused([{"role": "user", "content": []}, message])
    assert error.path == "messages[1]"
    assert f"messages[1] is {a_kind(message)}, not a dict or a Message." in str(error)


def test_a_message_needs_a_role() -> None:
    """A dict without one is told which there are."""
    assert refused([{}]).path == "messages[0].role"


@pytest.mark.parametrize(
    "messages",
    [
        [ImageBlock(format="png", source=MediaSource(bytes=b"x")), "What is it?"],
        ["What is it?"],
        [{"text": "What is it?"}],
        [UnknownBlock(raw={"new": {}})],
    ],
)
def test_content_in_the_place_of_messages_is_told_where_it_belongs(messages: Any) -> None:  # noqa: ANN401 - what is wrong
    """Blocks and texts, which belong into a message, are shown in one."""
    error = refused(messages)
    assert error.path == "messages[0]"
    assert error.hint is not None
    assert '[{"role": "user", "content": [block, {"text": "a question"}]}]' in error.hint


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (5, "an int"),
        ({}, "a dict"),
        (UnknownBlock(raw={}), "an UnknownBlock"),
        (ImageBlock(format="png", source=MediaSource(bytes=b"x")), "an ImageBlock"),
        (uuid4(), "a UUID"),
        (None, "a NoneType"),
    ],
)
def test_kinds_are_told_with_their_article(value: object, shown: str) -> None:
    """As they are spoken."""
    assert a_kind(value) == shown


# -- faults deep inside

PNG: Final[dict[str, Any]] = {"format": "png", "source": {"bytes": b"x"}}


def content(*blocks: Any) -> list[dict[str, Any]]:  # noqa: ANN401 - what a caller might pass
    """Return a history whose last turn has these blocks."""
    turn = {"role": "user", "content": [{"text": "a"}]}
    return [turn, {"role": "assistant", "content": [{"text": "b"}]}, {"role": "user", "content": list(blocks)}]


@pytest.mark.parametrize(
    ("block", "path", "says"),
    [
        ({"image": {"source": {"bytes": b"x"}}}, ".image.format", "required"),
        ({"image": {"format": 5, "source": {"bytes": b"x"}}}, ".image.format", "string"),
        ({"image": {"format": "png"}}, ".image.source", "required"),
        ({"image": {"format": "png", "source": {"bytes": "eA=="}}}, ".image.source.bytes", "bytes here, not str"),
        ({"image": {"format": "png", "source": {}}}, ".image.source", "exactly one of bytes, s3Location"),
        ({"document": {"name": "d", "source": {"bytes": "text"}}}, ".document.source.bytes", "bytes here, not str"),
        (
            {"toolResult": {"toolUseId": "t", "content": [{"text": "x"}, {"image": {"format": "png"}}]}},
            ".toolResult.content[1].image.source",
            "required",
        ),
        ({"toolUse": {"toolUseId": "t", "input": {}}}, ".toolUse.name", "required"),
        ({"toolUse": None}, ".toolUse.toolUseId", "required"),
        ({"text": 5}, ".text", "string"),
        ({"text": "x", "image": PNG}, "", "text and image are both set"),
        ("x", "", 'a block is an object such as {"text": ...}'),
        (None, "", 'a block is an object such as {"text": ...}'),
        ({"searchResult": {"title": "t", "content": [{"text": "x"}]}}, ".searchResult.source", "required"),
        ({"guardContent": {"text": {"qualifiers": []}}}, ".guardContent.text.text", "required"),
    ],
)
def test_a_fault_deep_inside_is_named_by_its_path(block: object, path: str, says: str) -> None:
    """In the words of the wire and with indices, so that it can be found in what was passed."""
    error = refused(content(block))
    assert error.path == f"messages[2].content[0]{path}"
    assert str(error).startswith(f"{error.path}: ")
    assert says in str(error)


def test_the_number_of_further_faults_is_told() -> None:
    """One fault at a time, but not as if it were the only one."""
    error = refused(content({"image": {}}, {"video": {}}))
    assert error.path == "messages[2].content[0].image.format"
    assert "(3 more faults follow)" in str(error)


def test_content_that_is_a_text_is_explained() -> None:
    """The mistake that everybody makes once."""
    error = refused([{"role": "user", "content": "hello"}])
    assert error.path == "messages[0].content"
    assert 'Content is a list of blocks: [{"text": "..."}].' in str(error)


REFUSED: Final[list[tuple[dict[str, Any], str]]] = [
    ({"max_tokens": "lots"}, "inferenceConfig.maxTokens"),
    ({"max_tokens": 1.5}, "inferenceConfig.maxTokens"),
    ({"temperature": "hot"}, "inferenceConfig.temperature"),
    ({"temperature": float("nan")}, "inferenceConfig.temperature"),
    ({"top_p": []}, "inferenceConfig.topP"),
    ({"stop_sequences": "END"}, "inferenceConfig.stopSequences"),
    ({"stop_sequences": [5]}, "inferenceConfig.stopSequences[0]"),
    ({"system": 5}, "system"),
    ({"system": {"text": "x"}}, "system"),
    ({"system": [5]}, "system[0]"),
    ({"tools": "weather"}, "toolConfig.tools"),
    ({"tools": {"tools": []}}, "toolConfig.tools"),
    ({"tools": [{"toolSpec": {"name": "x"}}]}, "toolConfig.tools[0].toolSpec.inputSchema"),
    ({"tools": [{"toolSpec": {"name": "x", "inputSchema": {}}}]}, "toolConfig.tools[0].toolSpec.inputSchema"),
    ({"tools": [TOOL], "tool_choice": 5}, "toolConfig.toolChoice"),
    ({"tools": [TOOL], "tool_choice": {"auto": {}, "any": {}}}, "toolConfig.toolChoice"),
    ({"tool_choice": "auto"}, "tool_choice"),
    ({"guardrail": "g"}, "guardrail"),
    ({"effort": 5}, "outputConfig.effort"),
    ({"performance": 5}, "performanceConfig.latency"),
    ({"service_tier": {}}, "serviceTier.type"),
    ({"request_metadata": 5}, "requestMetadata"),
    ({"request_metadata": {"a": 1}}, "requestMetadata.a"),
    ({"prompt_variables": ["a"]}, "prompt_variables"),
    ({"prompt_variables": {"a": 1}}, "promptVariables.a.text"),
    ({"additional_request_fields": "top_k"}, "additional_request_fields"),
    ({"additional_response_field_paths": "/a"}, "additionalModelResponseFieldPaths"),
    ({"extra_body": [1]}, "extra_body"),
    ({"extra_body": "x"}, "extra_body"),
    ({"extra_body": {"a": {1, 2}}}, "extra_body"),
    ({"extra_body": {"messages": "x"}}, "messages"),
    ({"extra_body": {"inferenceConfig": {"maxTokens": "lots"}}}, "inferenceConfig.maxTokens"),
]


@pytest.mark.parametrize(("keywords", "path"), REFUSED)
def test_a_keyword_of_another_type_is_refused_with_its_path(keywords: dict[str, Any], path: str) -> None:
    """Nothing is guessed: a text in the place of a list is not taken for the list of its letters."""
    error = refused(**keywords)
    assert error.path == path
    assert path in str(error)


def test_a_prompt_is_not_quoted_in_an_error() -> None:
    """Messages of errors land in logs; what the user wrote does not."""
    secret = "the secret plan"
    for block in ({"text": [secret]}, {"image": {"format": secret}}, {"toolUse": {"name": secret}}, secret):
        assert secret not in str(refused(content(block)))


# -- the page

PAGE: Final = (Path(__file__).parent.parent / "docs" / "requests.md").read_text("utf-8")
KEYWORDS: Final = PAGE.partition("\n## Keywords\n")[2].partition("\n## ")[0]


def test_the_table_of_keywords_has_them_all() -> None:
    """docs/requests.md lists what `CallSettings` has, in its order, each with type, meaning, default and a link."""
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in KEYWORDS.splitlines() if line[:3] == "| `"
    ]
    assert [row[0].strip("`") for row in rows] == [
        *(name for name in CallSettings.__annotations__ if not name.startswith("output_")),
        "output_type",
        "output_mode",
    ]
    for row in rows:
        assert len(row) == 5, row
        assert all(row), row
        assert re.fullmatch(r"\[.+\]\(.+\)", row[4]), row


# -- names


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("max_token", "Did you mean 'max_tokens'?"),
        ("maxTokens", "Did you mean 'max_tokens'?"),
        ("temprature", "Did you mean 'temperature'?"),
        ("stop", "Did you mean 'stop_sequences'?"),
        ("zzz", "extra_body"),
    ],
)
def test_an_unknown_keyword_names_the_nearest(name: str, hint: str) -> None:
    """Or says where members that are no keyword belong."""
    with pytest.raises(InvalidRequestError, match=rf"converse\(\) has no keyword '{name}'") as caught:
        check_names({"max_tokens": 5, name: 1}, verb="converse")
    assert caught.value.path == name
    assert hint in str(caught.value)


@pytest.mark.parametrize(
    ("verb", "name", "own"),
    [("parse", "max_repair", "max_repairs"), ("run_tools", "max_round", "max_rounds"), ("converse", "max_rounds", "")],
)
def test_the_nearest_keyword_may_be_of_the_verb_alone(verb: str, name: str, own: str) -> None:
    """Each verb has keywords beside those of all; they are named where they can be used."""
    with pytest.raises(InvalidRequestError) as caught:
        check_names({name: 1}, verb=verb)
    assert (f"Did you mean {own!r}?" in str(caught.value)) is bool(own)


def test_a_place_that_is_no_verb_is_named_as_it_is() -> None:
    """The defaults of a client are no call, and have no second pair of brackets."""
    with pytest.raises(InvalidRequestError, match=r"BedrockClient\(settings=\.\.\.\) has no keyword 'zzz'"):
        check_names({"zzz": 1}, verb="BedrockClient(settings=...)")


BOTO3_MEMBERS: Final = [
    str(field.alias)
    for name, field in ConverseRequest.model_fields.items()
    if name not in {"model_id", "messages", "system", "request_metadata"}  # arguments, or all but the same name
]


@pytest.mark.parametrize("member", BOTO3_MEMBERS)
def test_members_of_boto3_are_translated(member: str) -> None:
    """Who comes from boto3 is told the keyword: a name that is only near would lead astray."""
    with pytest.raises(InvalidRequestError, match=rf"no keyword '{member}', which is boto3's") as caught:
        check_names({member: {}}, verb="converse")
    suggested = re.findall(r"(\w+)=", caught.value.hint or "")
    assert suggested
    assert set(suggested) <= CallSettings.__annotations__.keys()


SETTINGS: Final[dict[str, type]] = {
    f"Unpack[{kind.__name__}]": kind for kind in (CallSettings, InvokeSettings, BidirectionalSettings, TaskSettings)
}
VERBS: Final = {
    name: inspect.signature(verb).parameters.values()
    for name, verb in vars(BedrockClient).items()
    if not name.startswith("_") and callable(verb) and "settings" in inspect.signature(verb).parameters
}


def known_to(verb: str) -> type:
    """Return the keywords that a verb takes beside its own, as its signature says."""
    (kind,) = (each.annotation for each in VERBS[verb] if each.kind is each.VAR_KEYWORD)
    # What is left out there is taken all the same: overloads tell the checker which type comes back.
    return SETTINGS["Unpack[CallSettings]" if kind == "Unpack[UntypedSettings]" else kind]


@pytest.mark.parametrize("verb", VERBS)
def test_what_the_signature_of_a_verb_says_is_known(verb: str) -> None:
    """All keywords of its settings pass, and each of its own, where it is misspelt, is the one that is meant."""
    check_names(dict.fromkeys(known_to(verb).__annotations__), verb=verb, known=known_to(verb))
    own = [each.name for each in VERBS[verb] if each.kind is each.KEYWORD_ONLY]
    for name in own:
        with pytest.raises(InvalidRequestError) as caught:
            check_names({name[:-1]: 1}, verb=verb, known=known_to(verb))
        assert f"Did you mean {name!r}?" in str(caught.value)


def test_most_verbs_are_looked_at() -> None:
    """The test before this one reads signatures: it has found them."""
    assert {"converse", "stream", "parse", "run_tools", "invoke", "embed", "count_tokens", "model"} <= VERBS.keys()


# -- extra_body


@pytest.mark.parametrize(
    ("extra", "wire"),
    [
        ({}, {"inferenceConfig": {"maxTokens": 5, "temperature": 0.5}}),
        ({"new": [1]}, {"inferenceConfig": {"maxTokens": 5, "temperature": 0.5}, "new": [1]}),
        (
            {"inferenceConfig": {"maxTokens": 7, "topK": 3}},
            {"inferenceConfig": {"maxTokens": 7, "temperature": 0.5, "topK": 3}},
        ),
        ({"inferenceConfig": None}, {"inferenceConfig": None}),
        ({"a": {"b": {"c": None}}}, {"inferenceConfig": {"maxTokens": 5, "temperature": 0.5}, "a": {"b": {"c": None}}}),
        ({"modelId": "other"}, {"inferenceConfig": {"maxTokens": 5, "temperature": 0.5}}),
    ],
)
def test_the_extra_body_is_merged_last_object_into_object(extra: dict[str, Any], wire: dict[str, Any]) -> None:
    """It adds to objects and replaces everything else; the model id stays that of the call."""
    request = build_request(MODEL, "hi", {"max_tokens": 5, "temperature": 0.5, "extra_body": extra})
    sent = request.to_wire()
    assert sent.pop("messages") == [{"role": "user", "content": [{"text": "hi"}]}]
    assert sent == wire
    assert request.model_id == MODEL


def test_the_extra_body_replaces_lists_and_keeps_blobs() -> None:
    """Lists are not merged; what else stands in the request, bytes included, is as it was."""
    image = ImageBlock(format="png", source=MediaSource(bytes=b"\0\xff"))
    request = build_request(
        MODEL,
        [Message(role="user", content=[image])],
        {"stop_sequences": ["a"], "extra_body": {"inferenceConfig": {"stopSequences": ["b"]}}},
    )
    assert request.inference_config is not None
    assert request.inference_config.stop_sequences == ["b"]
    assert request.messages is not None
    assert request.messages[0].content == [image]


# -- whatever is passed

ANYTHING: Final = st.recursive(
    JSON_VALUES | st.binary() | st.sampled_from([object(), {1}, 1j, TextBlock(text="x"), MappingProxyType({"a": {1}})]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["role", "content", "text", "image", "source", "bytes", "toolUse", "raw", "json"]),
            inner,
            max_size=3,
        )
        | st.dictionaries(st.text(max_size=3) | st.integers(), inner, max_size=2)
    ),
    max_leaves=8,
)


def circular() -> dict[str, Any]:
    """Return a document that holds itself."""
    made: dict[str, Any] = {}
    made["self"] = made
    return made


def sent_or_refused(messages: Any, keywords: dict[str, Any]) -> None:  # noqa: ANN401 - what a caller might pass
    """Build the request and ask the provider for its bytes: JSON comes out, or InvalidRequestError."""
    ctx = CallContext(parse_model_id(MODEL), "us-east-1")
    try:
        request = build_request(MODEL, messages, keywords)
        effect = next(ConverseProvider().converse(request, ctx))
    except InvalidRequestError as error:
        text = str(error)
    else:
        assert isinstance(effect, Send)
        text = json.dumps(json.loads(effect.request.body))
    assert text


@settings(max_examples=400)
@given(ANYTHING, st.dictionaries(st.sampled_from(sorted(CallSettings.__annotations__)), ANYTHING, max_size=3))
@example("hi", {"additional_request_fields": {"a": MappingProxyType({})}})
@example("hi", {"additional_request_fields": circular()})
@example("hi", {"extra_body": circular()})
@example("hi", {"extra_body": {"a": "\ud800"}})
@example("\ud800", {"extra_body": {"a": 1}})
@example([{"role": "user", "content": [{"new": {"blob": b"\xff"}}]}], {})
def test_nothing_that_is_passed_raises_anything_but_invalid_request_error(
    messages: Any,  # noqa: ANN401 - what a caller might pass
    keywords: dict[str, Any],
) -> None:
    """Random nesting in messages and keywords is sent as JSON or refused with an error of ours."""
    sent_or_refused(messages, keywords)


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(damaged(parameters("ConverseRequest").map(lambda made: json.loads(json.dumps(made, default=repr)))))
def test_a_damaged_history_is_sent_or_refused(members: dict[str, Any]) -> None:
    """The same for valid messages with one value replaced at any depth."""
    sent_or_refused(members.get("messages"), {"system": members.get("system"), "tools": members.get("toolConfig")})


def test_documents_nested_without_end_are_refused() -> None:
    """A document too deep to be written is an error of ours, not a RecursionError."""
    deep: dict[str, Any] = {}
    for _ in range(100_000):
        deep = {"a": deep}
    for keywords in ({"additional_request_fields": deep}, {"extra_body": deep}):
        sent_or_refused("hi", keywords)


def test_a_built_request_is_a_ready_request() -> None:
    """What build_request returns can be read back from both forms."""
    request = build_request(MODEL, "hi", {"system": "s", "tools": [TOOL], "max_tokens": 5})
    assert ConverseRequest.from_wire(request.to_wire_bytes(), model_id=MODEL) == request
    assert ConverseRequest.from_dict(request.to_dict()) == request
