"""The contract of tasks that only some families support (embeddings, ranking, images, video), as a test class."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, TypeAlias, cast

from ..errors import BedrockError, InvalidRequestError
from ..families import (
    EmbedRequest,
    Embeds,
    FamilyContext,
    GeneratesImages,
    GeneratesVideo,
    ImageRequest,
    ModelFamily,
    NativeObject,
    RerankRequest,
    Reranks,
    VideoRequest,
    encode_request,
    find_profile,
)
from ..families._encoding import decode_result
from ..families.profiles import best_match
from ..families.registry import check_family
from ..model_id import parse_model_id
from ..types import ConverseRequest
from .expecting import NOTHING, QUESTION, REGION, STRANGE, equal, expect, raises

__all__ = ["TaskContract", "TaskSample"]

TaskRequest: TypeAlias = EmbedRequest | RerankRequest | ImageRequest | VideoRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSample:
    """One native exchange of a task. Members that are omitted are not compared.

    - ``model``, ``request``: the model and the request, whose class determines the task.
    - ``native_request``: the expected body. ``native_response``: the response, with its ``headers``.
    - ``output``: for video, name and bytes of the S3 object, instead of a response.
    - ``result``: what the decoding method must return.
    """

    model: str
    request: TaskRequest
    native_request: Mapping[str, Any] | None = None
    native_response: Mapping[str, Any] | None = None
    headers: Mapping[str, str] = field(default_factory=lambda: NOTHING)
    output: tuple[str, bytes] | None = None
    result: object = None
    options: Mapping[str, Any] = field(default_factory=lambda: NOTHING)


class TaskContract:
    """The contract of a family's tasks besides chat. Subclass it with a family and samples to inherit the tests."""

    samples: ClassVar[Sequence[TaskSample]] = ()

    def family(self) -> ModelFamily:
        """Return the family under test."""
        raise NotImplementedError("override family()")

    def test_it_keeps_the_protocol(self) -> None:
        """A family that does not chat satisfies the protocol, too."""
        family = self.family()
        expect(holds=check_family(family, family.name, "the test") is family, otherwise="check_family returned another")

    def test_it_has_the_methods_of_its_tasks(self) -> None:
        """An isinstance check finds them."""
        for sample in self._given():
            protocol = _protocol_of(sample.request)
            expect(holds=isinstance(self.family(), protocol), otherwise=f"it is not a {protocol.__name__}")

    def test_it_claims_the_models_of_its_samples(self) -> None:
        """Its patterns match their ids, without geography."""
        for sample in self._given():
            base_model = parse_model_id(sample.model).base_model or ""
            found = best_match(base_model, self.family().models)
            expect(holds=found is not None, otherwise=f"no pattern fits {base_model}")

    def test_requests_become_the_native_ones_of_the_samples(self) -> None:
        """Member by member."""
        for sample in self._given():
            if sample.native_request is not None:
                equal(self._body(sample), json.loads(json.dumps(sample.native_request)), f"the body for {sample.model}")

    def test_encoding_is_repeatable_and_leaves_the_request_alone(self) -> None:
        """A retry sends the same."""
        for sample in self._given():
            before = copy.deepcopy(sample.request)
            equal(self._body(sample), self._body(sample), f"the body for {sample.model}")
            equal(sample.request, before, "the request after encoding")

    def test_fields_of_the_caller_reach_the_body(self) -> None:
        """``fields`` are for members that the common request lacks."""
        for sample in self._given():
            fields: Any = {"probe_field": {"inner": [1]}}
            body = json.dumps(self._body(sample, replace(sample.request, fields=fields)))
            expect(holds='"probe_field": {"inner": [1]}' in body, otherwise=f"the field is not in {body}")

    def test_answers_are_the_results_of_the_samples(self) -> None:
        """Typed, and equal to the expected results."""
        for sample in self._given():
            if sample.result is not None:
                equal(self._result(sample), sample.result, f"the result of {sample.model}")

    def test_an_answer_of_another_family_is_an_error(self) -> None:
        """An error of ours, with the family's name."""
        for sample in self._given():
            if sample.native_response is None:
                continue
            for body in (STRANGE, NOTHING):
                error = raises(BedrockError, f"the answer {body!r}", self._decoded, sample, body)
                expect(holds=self.family().name in str(error), otherwise=f"the error does not name the family: {error}")

    def test_decoding_leaves_the_body_alone(self) -> None:
        """The received body can be inspected afterwards."""
        for sample in self._given():
            if sample.native_response is not None:
                body = copy.deepcopy(dict(sample.native_response))
                self._decoded(sample, body)
                equal(body, dict(sample.native_response), "the body after decoding")

    def test_models_that_do_not_chat_say_so(self) -> None:
        """Asked to converse, they are refused before anything is sent."""
        for sample in self._given():
            ctx = self._ctx(sample)
            if not ctx.profile.chats:
                what, request = f"a question to {sample.model}", ConverseRequest.from_dict(QUESTION)
                raises(InvalidRequestError, what, encode_request, self.family(), request, ctx)

    # -- inside

    def _given(self) -> Iterator[TaskSample]:
        expect(holds=bool(self.samples), otherwise="a TaskContract needs samples")
        yield from self.samples

    def _ctx(self, sample: TaskSample) -> FamilyContext:
        model = parse_model_id(sample.model)
        own = getattr(self.family(), "profiles", None)
        profile = find_profile(model.base_model, also=[own] if own else ())
        return FamilyContext(model, profile, REGION, sample.options)

    def _body(self, sample: TaskSample, request: TaskRequest | None = None) -> Any:  # noqa: ANN401 - JSON
        encode = _methods(self.family(), sample.request)[0]
        native: Any = encode(request or sample.request, self._ctx(sample))
        return json.loads(json.dumps(native if isinstance(native, Mapping) else native.body))

    def _result(self, sample: TaskSample) -> object:
        if sample.output is not None:
            family = cast("GeneratesVideo", self.family())
            return family.decode_video(*sample.output, self._ctx(sample))
        return self._decoded(sample, sample.native_response or {})

    def _decoded(self, sample: TaskSample, body: NativeObject) -> object:
        headers = {name.lower(): value for name, value in sample.headers.items()}
        decode = _methods(self.family(), sample.request)[1]
        family, ctx = self.family(), self._ctx(sample)
        return decode_result(family, lambda: decode(body, headers, ctx), json.dumps(dict(body)).encode())


def _protocol_of(request: TaskRequest) -> type:
    match request:
        case EmbedRequest():
            return Embeds
        case RerankRequest():
            return Reranks
        case ImageRequest():
            return GeneratesImages
        case VideoRequest():
            return GeneratesVideo


def _methods(family: ModelFamily, request: TaskRequest) -> tuple[Callable[..., object], Callable[..., object]]:
    words = {EmbedRequest: "embed", RerankRequest: "rerank", ImageRequest: "image", VideoRequest: "video"}
    word = words[type(request)]
    encode: Callable[..., object] = getattr(family, f"encode_{word}")
    decode: Callable[..., object] = getattr(family, f"decode_{word}")
    return encode, decode
