"""docs/coming-from.md: what it says that something is called here is called so, and nothing of theirs is left out."""

from __future__ import annotations

import ast
import inspect
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from types import ModuleType, SimpleNamespace, UnionType
from typing import Any, Final, Union, cast, get_args, get_origin, get_type_hints

import pytest
from markdown_links import anchors_of
from pydantic import BaseModel

import bedrock_async
from bedrock_async import (
    AsyncInvokeJob,
    AsyncInvokeResult,
    BedrockClient,
    BedrockError,
    BoundModel,
    CallSettings,
    Conversation,
    ConverseResponse,
    Event,
    InvalidRequestError,
    InvokeChunk,
    InvokeResponse,
    InvokeSettings,
    ResponseStream,
    ServiceError,
    TokenCount,
)
from bedrock_async.botocore_config import ClientKeywords
from bedrock_async.errors import service_error
from bedrock_async.features.other_names import OTHER_NAMES
from bedrock_async.features.settings import build_request, check_names

DOCS: Final = Path(__file__).parent.parent / "docs"
PAGE: Final = (DOCS / "coming-from.md").read_text("utf-8")
TABLES: Final = re.findall(r"^\| there \| here \|.*\n\|[-|]+\n((?:\|.*\n)+)", PAGE, re.MULTILINE)
ROWS: Final = [row[2:-2].split(" | ") for table in TABLES for row in table.splitlines()]
SPAN: Final = re.compile(r"`([^`]+)`")
SPANS: Final = sorted({span for row in ROWS for span in SPAN.findall(row[1])})

OBJECTS: Final[Mapping[str, object]] = {
    "client": BedrockClient,
    "model": BoundModel,
    "chat": Conversation,
    "reply": ConverseResponse,
    "stream": ResponseStream,
    "event": Event,
    "answer": InvokeResponse,
    "chunk": InvokeChunk,
    "count": TokenCount,
    "job": AsyncInvokeJob,
    "result": AsyncInvokeResult,
    "error": ServiceError,
}
"""The names that the page uses for objects, and what they are."""


def words(text: str) -> list[str]:
    """Return the words of a text."""
    return text.split()


VALUES: Final = words("""
    City ProductAnalysis account arn blocks body config data function history id key messages name path request uri
    weather
""")
"""The names that stand for what the reader has."""

NO_CODE: Final = re.compile(r"bedrock(-runtime)?:\w*")
"""Actions of IAM."""

STRANDS: Final = words("""
    additional_args additional_request_fields additional_response_field_paths boto_client_config boto_session
    cache_config cache_prompt cache_tools guardrail_id guardrail_redact_input guardrail_redact_input_message
    guardrail_redact_output guardrail_redact_output_message guardrail_stream_processing_mode guardrail_trace
    guardrail_version max_tokens model_id region_name stop_sequences streaming temperature top_p update_config Agent
    structured_output accumulated_usage cachePoint DocumentBlock AWS_REGION AWS_DEFAULT_REGION messages
    system_prompt tools @tool modelMetadataEvent location clientConfig
""")
PYDANTIC_AI: Final = words("""
    bedrock_additional_model_requests_fields bedrock_additional_model_response_fields_paths
    bedrock_cache_instructions bedrock_cache_messages bedrock_cache_tool_definitions bedrock_guardrail_config
    bedrock_inference_profile bedrock_performance_configuration bedrock_prompt_variables bedrock_request_metadata
    bedrock_service_tier service_tier BedrockConverseModel BedrockProvider gateway profile settings client
    count_tokens supported_native_tools CachePoint BedrockStreamedResponse provider_name provider_url model_name
    LatestBedrockModelNames BedrockModelName
""")
GUIDES: Final = words("""
    Session converse converse_stream invoke_model invoke_model_with_response_stream converse_count systemTokens
    toolTokens totalTokens totalInputTokens invoke_model_async get_async_invoke list_async_invokes
    guardrailIdentifier guardrailConfig amazon-bedrock-guardrailAction trace ClientError BotoCoreError
    ThrottlingException ModelTimeoutException ModelErrorException ValidationException AccessDeniedException
    ResourceNotFoundException ModelNotReadyException ServiceQuotaExceededException ModelStreamErrorException
    lru_cache list-foundation-models bedrock:Converse bedrock:InvokeModelAsync stopReason toolUse ResponseMetadata
    apply_guardrail
""")


# -- reading what a span means


@cache
def names() -> dict[str, object]:
    """Return everything that annotations of the package may name."""
    found: dict[str, object] = {}
    for module in (each for each in vars(bedrock_async).values() if isinstance(each, ModuleType)):
        found |= vars(module)
    return found | {name: getattr(bedrock_async, name) for name in bedrock_async.__all__}


def annotation(owner: Any, name: str) -> Any:  # noqa: ANN401 - a class or a function, and whatever it says
    """Return what a class or function says of a name, read as type checkers read it; None where it says nothing."""
    for each in owner.__mro__ if isinstance(owner, type) else (owner,):
        told: Mapping[str, Any] = getattr(each, "__annotations__", {})
        if (said := told.get(name)) is not None:
            place = SimpleNamespace(__annotations__={name: said})
            return get_type_hints(place, globalns=vars(sys.modules[each.__module__]), localns=names())[name]
    return None


def kinds(annotation: object) -> list[type]:
    """Return the classes that an annotation is about."""
    if get_origin(annotation) in {Union, UnionType}:
        return [kind for each in get_args(annotation) for kind in kinds(each)]
    if (origin := get_origin(annotation)) is not None and not isinstance(origin, type):
        return kinds(get_args(annotation)[0])
    kind = origin or annotation
    return [kind] if isinstance(kind, type) and kind is not type(None) else []


def attribute(kind: type, name: str) -> object:
    """Return what an attribute of an object is: a callable, or the annotation of its value. None where it has none."""
    member: Any = inspect.getattr_static(kind, name, None)
    if isinstance(member, property):
        return annotation(member.fget, "return")
    if isinstance(member, classmethod | staticmethod) or inspect.isfunction(member):
        return getattr(kind, name)
    if isinstance(member, str):
        return str
    if issubclass(kind, ServiceError) and hasattr(service_error("ThrottlingException", "Slow down."), name):
        return object  # errors make their attributes when they are made
    return annotation(kind, name)


def keywords_of(function: Any) -> set[str]:  # noqa: ANN401 - a function or a class
    """Return the keywords that a callable takes; those of a bound model's verb are the client's."""
    if isinstance(function, type) and issubclass(function, BaseModel):
        return set(function.model_fields)
    if function is BedrockClient:
        return set(ClientKeywords.__annotations__)
    found: set[str] = set()
    function = cast("Callable[..., object]", function)
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            unpacked = get_args(annotation(function, parameter.name))
            found |= unpacked[0].__annotations__.keys() if unpacked else set()
        else:
            found.add(parameter.name)
    verb = getattr(function, "__qualname__", "")
    if verb.startswith("BoundModel."):
        found |= keywords_of(getattr(BedrockClient, verb.partition(".")[2], BoundModel.conversation))
    return found


class Reader:
    """Finds out whether the names in a piece of code exist; ``faults`` are those that do not."""

    def __init__(self) -> None:
        self.faults: list[str] = []

    def read(self, code: str) -> None:
        """Read an expression, a keyword with its value, or an assignment."""
        code = code.removeprefix("@") + ("None" if code.endswith("=") else "")
        body = cast("ast.AsyncFunctionDef", ast.parse(f"async def span():\n    {code}\n").body[0]).body
        match body:
            case [ast.Assign(targets=[ast.Name(id=name)], value=value)]:
                if name not in OBJECTS and name not in KEYWORDS:
                    self.faults.append(name)
                self.value(value)
            case [ast.Assign(targets=[target], value=value)]:
                self.value(target)
                self.value(value)
            case [ast.Expr(value=value)]:
                self.value(value)
            case _:
                self.faults.append(code)

    def value(self, node: ast.expr) -> object:
        """Return what a value is, as `attribute` does; None where nothing more can be known."""
        match node:
            case ast.Name(id=name):
                return self.name(name)
            case ast.Attribute(value=owner, attr=name):
                return self.attribute(self.value(owner), name)
            case ast.Call(func=function, args=args, keywords=keywords):
                return self.call(self.value(function), args, keywords)
            case ast.Await(value=value):
                return self.value(value)
            case _:
                for child in ast.iter_child_nodes(node):
                    if isinstance(child, ast.expr):
                        self.value(child)
                return None

    def name(self, name: str) -> object:
        """Return what a name stands for."""
        if name in OBJECTS:
            return OBJECTS[name]
        if name in bedrock_async.__all__:
            return getattr(bedrock_async, name)
        if name not in VALUES and name not in CallSettings.__annotations__:
            self.faults.append(name)
        return None

    def attribute(self, owner: object, name: str) -> object:
        """Return what an attribute of that is; where it may be several things, one of them has it."""
        if not (possible := kinds(owner)):
            return None
        found = [each for kind in possible if (each := attribute(kind, name)) is not None]
        if not found:
            self.faults.append(f"{possible[0].__name__}.{name}")
        return found[0] if found else None

    def call(self, function: object, args: list[ast.expr], keywords: list[ast.keyword]) -> object:
        """Return what a call gives; its keywords must be known."""
        for value in [*args, *(keyword.value for keyword in keywords)]:
            self.value(value)
        if not callable(function):
            return None
        known = keywords_of(function)
        self.faults += [f"{keyword.arg}=" for keyword in keywords if keyword.arg not in known]
        return function if isinstance(function, type) else annotation(function, "return")


KEYWORDS: Final = frozenset(
    CallSettings.__annotations__.keys() | InvokeSettings.__annotations__.keys() | keywords_of(BedrockClient)
)


def faults_of(code: str) -> list[str]:
    """Return the names in a piece of code that do not exist."""
    reader = Reader()
    reader.read(code)
    return reader.faults


# -- here


@pytest.mark.parametrize("span", [span for span in SPANS if not NO_CODE.fullmatch(span)])
def test_what_stands_under_here_exists(span: str) -> None:
    """Every class, verb, attribute and keyword, by that name."""
    assert faults_of(span) == []


@pytest.mark.parametrize(
    ("code", "fault"),
    [
        ("cash=CacheConfig()", "cash"),
        ("cache=CashConfig()", "CashConfig"),
        ("cache=CacheConfig(sistem=True)", "sistem="),
        ("client.konverse(model)", "BedrockClient.konverse"),
        ("await client.converse(model, messages, temprature=1)", "temprature="),
        ("await chat.parse(messages, output_tipe=City)", "output_tipe="),
        ("model.update_config(model_id=id)", "model_id="),
        ("reply.meta.request_ids", "ResponseMeta.request_ids"),
        ("reply.usage.total", "TokenUsage.total"),
        ("reply.guardrail.explains()", "GuardrailDecision.explains"),
        ("client.usage.by_modell", "UsageReport.by_modell"),
        ("client.model(id).converce(messages)", "BoundModel.converce"),
        ("event.texts", "MessageStartEvent.texts"),
        ("client.secrets = Credentials(id, id)", "BedrockClient.secrets"),
        ("nobody", "nobody"),
    ],
)
def test_a_name_that_does_not_exist_is_found(code: str, fault: str) -> None:
    """The test above would see it."""
    assert fault in faults_of(code)


# -- there


TRANSLATED: Final = [name for name, (whose, _) in OTHER_NAMES.items() if whose in {"Strands'", "Pydantic AI's"}]


@pytest.mark.parametrize("name", sorted({*STRANDS, *PYDANTIC_AI, *GUIDES, *TRANSLATED}))
def test_nothing_of_theirs_is_left_out(name: str) -> None:
    """Every option, setting, call and error of theirs stands on the page."""
    there = "\n".join(row[0] for row in ROWS)
    assert re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", there)


def test_every_row_leads_to_an_example() -> None:
    """Or to the one that a whole table has; the places are there."""
    for row in (row for row in ROWS if len(row) == 3):
        links = re.findall(r"\]\(([^)#]*)(?:#([^)]*))?\)", row[2])
        assert links, row[0]
        for page, anchor in links:
            path = (DOCS / page).resolve() if page else DOCS / "coming-from.md"
            assert not anchor or anchor in anchors_of(path.read_text("utf-8")), f"{page}#{anchor}"


# -- keywords that other libraries have


def suggestions() -> Iterator[tuple[str, str]]:
    """Yield each keyword of others, and the code that its hint has."""
    for name, (_, here) in OTHER_NAMES.items():
        yield name, here.partition(";")[0].removeprefix("it to ").removeprefix("Call ").removesuffix(".")


@pytest.mark.parametrize(("name", "here"), list(suggestions()))
def test_a_keyword_of_theirs_is_translated(name: str, here: str) -> None:
    """The error says whose it is, and what it says to pass exists."""
    with pytest.raises(InvalidRequestError, match=rf"no keyword '{name}', which is ") as caught:
        check_names({name: 1}, verb="converse")
    assert here in str(caught.value)
    assert name not in CallSettings.__annotations__
    for code in re.split(r",(?![^(]*\)) (?:or )?| and ", here):
        assert code == 'model="id"' or faults_of(code) == []


def test_errors_of_the_table_are_errors() -> None:
    """The second column of the table of errors names classes of the tree."""
    rows = TABLES[-1].splitlines()
    assert len(rows) > 10
    for row in rows:
        named = [getattr(bedrock_async, name, None) for name in re.findall(r"`(\w+Error)`", row.rpartition(" | ")[2])]
        assert all(isinstance(each, type) and issubclass(each, BedrockError) for each in named)


@pytest.mark.parametrize(
    ("settings", "hint"),
    [
        ({"service_tier": {"type": "flex"}}, 'service_tier="flex"'),
        ({"performance": {"latency": "optimized"}}, 'performance="optimized"'),
        ({"prompt_variables": {"name": {"text": "Ada"}}}, 'prompt_variables={"name": "text"}'),
        ({"tools": {"tools": []}}, "tools=[...]"),
    ],
)
def test_objects_of_one_member_are_explained(settings: dict[str, object], hint: str) -> None:
    """What boto3 and Pydantic AI write as an object is a plain value here, and the error shows it."""
    with pytest.raises(InvalidRequestError, match=f"Pass {re.escape(hint)}"):
        build_request("us.amazon.nova-lite-v1:0", "Say hello.", settings)
