"""Calls the methods of a family, and checks that their results conform to the protocol."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final, TypeVar, cast

from .._error import a_kind
from ..errors import BedrockError, EventDecodeError, InvalidRequestError, PluginError, ResponseDecodeError
from ..types import ConverseRequest, ConverseResponse
from ._features import check_supported
from ._protocol import FamilyContext, ModelFamily, NativeDecoder, NativeObject, NativeRequest
from ._tasks import CountsTokens
from .profiles import UNKNOWN, OutputModality

T = TypeVar("T")


def encode_request(family: ModelFamily, request: ConverseRequest, ctx: FamilyContext) -> NativeRequest:
    """Return the native request of a conversation, with the caller's own members merged over the body.

    These are ``additional_request_fields`` and ``extra_body``; objects are merged recursively. Raises
    InvalidRequestError for what the family cannot express and for a model that does not chat, PluginError if the family
    fails.
    """
    return _encoded(family, request, ctx, "encode", family.encode)


def encode_count(family: ModelFamily, request: ConverseRequest, ctx: FamilyContext) -> NativeRequest | None:
    """Return the native request for counting tokens; None if the family has none. Raises as `encode_request` does."""
    if not isinstance(family, CountsTokens):
        return None
    return _encoded(family, request, ctx, "encode_count", family.encode_count)


def _encoded(
    family: ModelFamily,
    request: ConverseRequest,
    ctx: FamilyContext,
    method: str,
    encode: Callable[[ConverseRequest, FamilyContext], object],
) -> NativeRequest:
    check_output(ctx, "text")
    supported = _called(family, "supports", lambda: family.supports(ctx))
    if isinstance(supported, str) or not isinstance(supported, Collection):
        raise _wrong_type(family, "supports", supported, "a collection of names")
    check_supported(request, cast("Collection[str]", supported), family=family.name, model=ctx.base_model)
    check_output_schema(request)
    native = checked_native(family, method, lambda: encode(request, ctx))
    return NativeRequest(with_callers_members(native.body, request), native.content_type, native.accept)


def check_output_schema(request: ConverseRequest) -> None:
    """Refuse an output schema that is not JSON, as native bodies contain it parsed. Raises InvalidRequestError.

    Families need not call this: requests are checked before they get them. Providers that write their own bodies must.
    """
    text_format = request.output_config.text_format if request.output_config is not None else None
    definition = text_format.structure.json_schema if text_format is not None else None
    if definition is None:
        return
    try:
        json.loads(definition.schema_)
    except (ValueError, RecursionError) as exc:
        raise InvalidRequestError(
            f"the schema for the answer is not JSON: {exc}.",
            path="output_config.text_format.structure.json_schema.schema",
            hint="Pass a JSON Schema as text, or output_type=... with a type.",
        ) from exc


def with_callers_members(body: NativeObject, request: ConverseRequest) -> NativeObject:
    """Return a native body with ``additional_request_fields`` and ``extra_body`` merged over it.

    Raises InvalidRequestError for fields that are not an object: Converse may accept them, but they cannot be merged.
    """
    fields: object = request.additional_model_request_fields
    if fields is not None and not isinstance(fields, Mapping):
        raise InvalidRequestError(
            f"additional_model_request_fields is {a_kind(fields)}; only an object can be merged into the native body.",
            path="additional_model_request_fields",
            hint="Pass an object, or call it with provider='converse'.",
        )
    return merged_body(merged_body(body, fields), request.model_extra)


def checked_native(family: ModelFamily, method: str, call: Callable[[], object]) -> NativeRequest:
    """Return the result of an encoding method. Raises PluginError if it fails or returns another type."""
    native = _called(family, method, call)
    body: object = native.body if isinstance(native, NativeRequest) else None
    if not isinstance(native, NativeRequest) or not isinstance(body, Mapping):
        raise _wrong_type(family, method, native, "a NativeRequest with an object as its body")
    return native


def checked_input(family: ModelFamily, method: str, call: Callable[[], object]) -> NativeObject:
    """Return the job input that an encoding method returns. Raises as `checked_native` does."""
    native = _called(family, method, call)
    if not isinstance(native, Mapping):
        raise _wrong_type(family, method, native, "an object")
    return cast("NativeObject", native)


def checked_name(family: ModelFamily, call: Callable[[], object]) -> str:
    """Return the name of the object that will hold a video. Raises as `checked_native` does."""
    name = _called(family, "video_object", call)
    if not isinstance(name, str):
        raise _wrong_type(family, "video_object", name, "the name of an object")
    return name


def native_body(family: ModelFamily, native: NativeRequest) -> bytes:
    """Return the bytes of a native body. Raises InvalidRequestError for values that JSON cannot represent."""
    try:
        text = json.dumps(native.body, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError, RecursionError) as exc:
        raise InvalidRequestError(
            f"the native body that the family {family.name!r} made contains a value that JSON cannot represent: {exc}.",
            hint="Tool input, schemas and additional_request_fields are made of dicts, lists, text and numbers.",
        ) from exc
    try:
        return text.encode()
    except UnicodeEncodeError:  # a lone surrogate: possible as an escape in JSON, but not in UTF-8
        return json.dumps(native.body, separators=(",", ":")).encode()


def decode_response(
    family: ModelFamily, body: NativeObject, headers: Mapping[str, str], ctx: FamilyContext, *, raw: bytes
) -> ConverseResponse:
    """Return the response that the family reads from a native body. Raises as `decode_result` does, and PluginError."""
    response = decode_result(family, lambda: family.decode(body, headers, ctx), raw)
    if not isinstance(response, ConverseResponse):
        raise _wrong_type(family, "decode", response, "a ConverseResponse")
    return response


def decode_result(family: ModelFamily, call: Callable[[], object], raw: bytes) -> object:
    """Return the result of a decoding method: a response, embeddings, images...

    Raises ResponseDecodeError, which carries the raw response, when the family cannot read it.
    """
    try:
        return call()
    except Exception as exc:
        if _is_said(exc):
            raise
        raise ResponseDecodeError(
            f"the family {family.name!r} ({_kind(family)}) cannot read the answer of {len(raw)} bytes: "
            f"{type(exc).__name__}: {exc}.",
            body=raw,
            hint="Check that this is the right family for the model; otherwise report the response (`body`) with the "
            "model id.",
        ) from exc


def _is_said(fault: Exception) -> bool:
    """Return whether an error is meant for the user, unlike one about objects built from the response."""
    return isinstance(fault, BedrockError) and not isinstance(fault, InvalidRequestError)


def result_of(family: ModelFamily, method: str, call: Callable[[], object], raw: bytes, kind: type[T]) -> T:
    """Return the result of a decoding method as ``kind``. Raises as `decode_result`; PluginError for another type."""
    result = decode_result(family, call, raw)
    if not isinstance(result, kind):
        raise _wrong_type(family, method, result, f"an object of {kind.__name__}")
    return result


def results_of(family: ModelFamily, method: str, call: Callable[[], object], raw: bytes, kind: type[T]) -> list[T]:
    """Return the result of a decoding method as a list of ``kind``. Raises as `result_of` does."""
    results = decode_result(family, call, raw)
    found = list(cast("Collection[object]", results)) if isinstance(results, list | tuple) else [results]
    for each in found:
        if not isinstance(each, kind):
            raise _wrong_type(family, method, each, f"a list of {kind.__name__}")
    return cast("list[T]", found)


def new_decoder(family: ModelFamily, ctx: FamilyContext) -> NativeDecoder:
    """Return a decoder for the chunks of one stream. Raises PluginError if the family returns none."""
    decoder = _called(family, "stream_decoder", lambda: family.stream_decoder(ctx))
    if not all(callable(getattr(decoder, method, None)) for method in ("receive", "eof")):
        raise _wrong_type(family, "stream_decoder", decoder, "a decoder with receive(chunk) and eof()")
    return cast("NativeDecoder", decoder)


def read_chunk(family: ModelFamily, call: Callable[[], object], raw: bytes | None) -> list[object]:
    """Return the events that a decoder returns for a chunk, or for the end of the stream (None).

    Raises EventDecodeError, which carries the chunk, when the decoder cannot read it; PluginError when it does not
    return a list.
    """
    try:
        events = call()
    except Exception as exc:
        if _is_said(exc):
            raise
        what = "the end of the stream" if raw is None else f"a chunk of {len(raw)} bytes"
        raise EventDecodeError(
            f"the family {family.name!r} ({_kind(family)}) cannot read {what}: {type(exc).__name__}: {exc}.",
            event_type="chunk",
            payload=raw or b"",
        ) from exc
    if not isinstance(events, list | tuple):
        raise _wrong_type(family, "stream_decoder", events, "a list of events")
    return list(cast("Collection[object]", events))


def merged_body(body: NativeObject, more: object) -> NativeObject:
    """Return the body with the members of ``more`` merged recursively; ``more`` takes precedence."""
    if not isinstance(more, Mapping):
        return body
    members = dict(body)
    for name, value in cast("Mapping[str, Any]", more).items():
        base: object = members.get(name)
        members[name] = merged_body(cast("NativeObject", base), value) if _objects(base, value) else value
    return members


def _objects(*values: object) -> bool:
    return all(isinstance(value, Mapping) for value in values)


def _called(family: ModelFamily, method: str, call: Callable[[], object]) -> object:
    try:
        return call()
    except BedrockError:
        raise
    except Exception as exc:
        raise PluginError(
            f"the family {family.name!r} ({_kind(family)}) failed in {method}: {type(exc).__name__}: {exc}.",
            hint="Report this to its author, or call the model with provider='converse'.",
        ) from exc


def _wrong_type(family: ModelFamily, method: str, value: object, wanted: str) -> PluginError:
    return PluginError(
        f"{method} of the family {family.name!r} ({_kind(family)}) returned {a_kind(value)}, not {wanted}.",
        hint="Report this to its author, or call the model with provider='converse'.",
    )


def _kind(family: ModelFamily) -> str:
    kind = type(family)
    return f"{kind.__module__}.{kind.__qualname__}"


_OUTPUTS: Final[Mapping[str, tuple[str, str, str | None]]] = {
    "audio": ("speaks", "does not speak", None),
    "embedding": ("makes embeddings", "makes no embeddings", "client.embed()"),
    "image": ("makes images", "makes no images", "client.generate_image()"),
    "ranking": ("ranks documents", "ranks no documents", "client.rerank()"),
    "text": ("answers with text", "does not chat", "client.converse()"),
    "video": ("makes videos", "makes no videos", "client.generate_video()"),
}
"""By output: what a model with it does, what a model without it does not do, and the method to call."""


def check_output(ctx: FamilyContext, wanted: OutputModality) -> None:
    """Refuse a model that is known to produce another kind of output, named in the InvalidRequestError."""
    given = ctx.profile.output_modalities
    if wanted in given or ctx.profile.source == UNKNOWN.source:
        return
    known = [_OUTPUTS[kind] for kind in sorted(given) if kind in _OUTPUTS]
    does = " and ".join(does for does, _, _ in known) or "has no output that is known here"
    verbs = " or ".join(verb for _, _, verb in known if verb) or "client.invoke() and its native body"
    raise InvalidRequestError(
        f"the model {ctx.base_model or ctx.model.raw} {does}; it {_OUTPUTS[wanted][1]}.",
        path="model",
        hint=f"Call it with {verbs}. If the facts are wrong, pass model_profile={{'output_modalities': ['{wanted}']}}.",
    )
