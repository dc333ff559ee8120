"""The verbs beside chat: embed, rerank, generate_image, generate_video, for models of a family made for tests."""

from __future__ import annotations

import json
import threading
from base64 import b64encode
from collections.abc import AsyncGenerator, Callable, Generator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import anyio
import pytest
from acme import Acme, AcmeStudio, giving, raising
from corpus import CORPUS, Exchange, exchange
from s3_server import CREDENTIALS, S3Server, s3_server

from bedrock_async import (
    NO_RETRY,
    BedrockClient,
    Embeddings,
    GeneratedImage,
    GeneratedVideo,
    ImageBlock,
    InputTooLongError,
    InvalidRequestError,
    JSONValue,
    MediaSource,
    ObjectNotFoundError,
    PluginError,
    RankedDocument,
    ResponseDecodeError,
    ResponseMeta,
    ThrottlingError,
    UnexpectedContentTypeError,
    VideoBlock,
    VideoJob,
)
from bedrock_async.errors import service_error
from bedrock_async.families import EmbedRequest
from bedrock_async.features.tasks import EmbedBatch, build_embed
from bedrock_async.tasks import in_batches
from bedrock_async.testing import (
    BedrockEmulator,
    HttpAnswer,
    JobModel,
    JobScript,
    ReceivedRequest,
    ReplayModel,
    S3ObjectStore,
    Script,
    ScriptedModel,
)
from bedrock_async.types.request import LARGE_BODY_BYTES

EMBED: Final = "acme.embed-1"
RANK: Final = "acme.rank-1"
DRAW: Final = "acme.draw-1"
FILM: Final = "acme.film-1"
PNG: Final = b"\x89PNG\r\n\x1a\npixels"
IMAGE: Final = ImageBlock(format="png", source=MediaSource(bytes=PNG))
FOLDER: Final = "s3://bucket/videos"
FOREIGN: Final = "arn:aws:bedrock:eu-west-1:123456789012:guardrail/abcdef"


def vector(text: str) -> list[JSONValue]:
    """What the model of these tests makes of a text."""
    return [float(len(text)), float(ord(text[0]))]


def answer(request: ReceivedRequest) -> Script:
    """The native answer to any of the requests that the family makes."""
    body: Any = request.json()
    if "inputs" in body:
        vectors: list[JSONValue] = [vector(text) for text in body["inputs"]]
        return [{"vectors": vectors, "tokens": len(vectors)}]
    if "texts" in body:
        ranks: list[JSONValue] = [[index, 1.0 / (index + 1)] for index in range(len(body["texts"]))]
        return [{"ranks": ranks[: body["most"]]}]
    return [{"drawings": [b64encode(body["prompt"].encode()).decode()]}]


@asynccontextmanager
async def serving(
    native: Callable[[ReceivedRequest], Script] = answer,
    family: Acme | None = None,
    **options: Any,  # noqa: ANN401 - the client's
) -> AsyncGenerator[tuple[BedrockClient, BedrockEmulator]]:
    """A client with the family, and the emulator that answers natively."""
    settings: dict[str, Any] = {"region": "us-east-1", "credentials": CREDENTIALS, "retry": NO_RETRY, **options}
    async with (
        BedrockEmulator([ScriptedModel([], native=native)]) as emulator,
        BedrockClient(endpoint_url=emulator.url, families={"acme": family or AcmeStudio()}, **settings) as client,
    ):
        yield client, emulator


def bodies(emulator: BedrockEmulator) -> list[Any]:
    """The bodies that arrived, as JSON."""
    return [request.json() for request in emulator.requests]


# -- embed


async def test_vectors_come_in_the_order_of_the_inputs() -> None:
    """Seven inputs, three to a request: three requests, one list of vectors, all tokens, a meta for each request."""
    texts = ["a", "bb", "ccc", "dddd", "eeeee", "ffffff", "ggggggg"]
    async with serving() as (client, emulator):
        made = await client.embed(EMBED, texts)
    assert made.vectors == [vector(text) for text in texts]
    assert made.input_tokens == 7
    assert sorted(len(body["inputs"]) for body in bodies(emulator)) == [1, 3, 3]
    assert {meta.request_id for meta in made.metas} == {request.request_id for request in emulator.requests}
    assert [(meta.status, meta.model, meta.provider) for meta in made.metas] == [(200, EMBED, "invoke")] * 3


async def test_the_order_holds_when_answers_overtake_each_other() -> None:
    """The first request is answered last."""
    last_has_come = anyio.Event()

    def late(request: ReceivedRequest) -> Script:
        body: Any = request.json()
        if body["inputs"][0] == "a":
            return [last_has_come, *answer(request)]
        last_has_come.set()
        return answer(request)

    async with serving(late) as (client, _):
        made = await client.embed(EMBED, ["a", "a", "a", "bb"])
    assert made.vectors == [vector("a")] * 3 + [vector("bb")]


async def test_one_text_is_a_list_of_one() -> None:
    """A text is not taken for the list of its letters."""
    async with serving() as (client, emulator):
        made = await client.embed(EMBED, "hello")
    assert made.vectors == [vector("hello")]
    assert bodies(emulator) == [{"inputs": ["hello"]}]


async def test_what_is_asked_for_reaches_the_model() -> None:
    """Purpose, dimensions, normalising, and members of the native body; what is not given is not sent."""
    async with serving() as (client, emulator):
        await client.embed(
            EMBED,
            ["a"],
            purpose="query",
            dimensions=4,
            normalize=False,
            additional_request_fields={"probe": [1]},
            request_metadata={"team": "search"},
            guardrail={"guardrailIdentifier": "g1", "guardrailVersion": "2"},
        )
        (request,) = emulator.requests
    assert request.json() == {"inputs": ["a"], "purpose": "query", "dimensions": 4, "unit": False, "probe": [1]}
    assert request.headers["x-amzn-bedrock-request-metadata"] == '{"team":"search"}'
    assert request.headers["x-amzn-bedrock-guardrailidentifier"] == "g1"
    assert (request.headers["content-type"], request.headers["accept"]) == ("application/json", "application/json")


async def test_images_are_embedded_beside_texts() -> None:
    """Typed or as boto3 has them; each goes alone, and the order of the inputs is that of the vectors."""
    wire = {"image": {"format": "png", "source": {"bytes": PNG}}}
    video = VideoBlock(format="mp4", source=MediaSource(bytes=b"frames"))
    async with serving() as (client, emulator):
        made = await client.embed(EMBED, ["a", "b", IMAGE, wire, video, "c"])
    texts = ["a", "b", "a png", "a png", "a mp4", "c"]
    assert made.vectors == [vector(text) for text in texts]
    assert sorted(len(body["inputs"]) for body in bodies(emulator)) == [1, 1, 1, 1, 2]


async def test_an_image_alone_is_a_list_of_one() -> None:
    """As a text alone is, typed or as a dict."""
    async with serving() as (client, _):
        typed = await client.embed(EMBED, IMAGE)
        wire = await client.embed(EMBED, {"image": {"format": "png", "source": {"bytes": PNG}}})
    assert typed.vectors == wire.vectors == [vector("a png")]


@pytest.mark.parametrize(
    ("inputs", "path", "said"),
    [
        ([], "inputs", "there are no inputs"),
        ((), "inputs", "there are no inputs"),
        (None, "inputs", "inputs is a NoneType"),
        (5, "inputs", "inputs is an int"),
        (b"bytes", "inputs", "inputs is a bytes"),
        (["a", ""], r"inputs[1]", "is empty"),
        (["a", 5], r"inputs[1]", "is an int"),
        ([b"\x89PNG"], r"inputs[0]", "is a bytes"),
        ([{"text": "a"}], r"inputs[0]", "is a TextBlock"),
        ([{"image": {"format": "png"}}], r"inputs[0].image.source", "Field required"),
        ([{"image": {"format": "jpeg", "source": {"bytes": PNG}}}], r"inputs[0].format", "are a png file"),
    ],
)
async def test_what_is_no_input_is_refused_before_anything_is_sent(inputs: Any, path: str, said: str) -> None:  # noqa: ANN401
    """The error names the place; nothing is billed."""
    async with serving() as (client, emulator):
        with pytest.raises(InvalidRequestError, match=said) as caught:
            await client.embed(EMBED, inputs)
    assert caught.value.path == path
    assert not emulator.requests


@pytest.mark.parametrize(
    ("keywords", "said"),
    [
        ({"dimensions": 0}, "dimensions is 0; it must be 1 or more"),
        ({"dimensions": "256"}, "dimensions is a str, not a whole number"),
        ({"dimensions": True}, "dimensions is a bool, not a whole number"),
        ({"max_concurrency": 0}, "max_concurrency is 0; it must be 1 or more"),
        ({"max_concurrency": -1}, "max_concurrency is -1; it must be 1 or more"),
        ({"purpose": 5}, "purpose is an int, not text"),
        ({"truncate": True}, "truncate is a bool, not text"),
        ({"additional_request_fields": [1]}, "additional_request_fields is a list, not a mapping"),
        ({"timeouts": 5}, "timeouts is an int, not Timeouts"),
        ({"retry": 3}, "retry is an int, not a retry policy"),
        (
            {"guardrail": {"guardrailIdentifier": FOREIGN, "guardrailVersion": "1"}},
            "eu-west-1; the client's is us-east",
        ),
        ({"request_metadata": {"a": object()}}, "request_metadata contains a value that JSON cannot"),
    ],
)
async def test_keywords_that_cannot_be_are_refused(keywords: dict[str, Any], said: str) -> None:
    """With the name of the keyword, before anything is sent, and not for each batch."""
    async with serving() as (client, emulator):
        with pytest.raises(InvalidRequestError, match=f"^{said}|^the guardrail.*{said}"):
            await client.embed(EMBED, ["a"] * 5, **keywords)
    assert not emulator.requests


async def test_an_input_over_the_limit_is_told_with_its_index() -> None:
    """The service refuses one of the inputs: the error is its own, and says where in the list that is."""

    def refuse(request: ReceivedRequest) -> Script:
        if "b" in request.body.decode():
            return [
                service_error(
                    "ValidationException",
                    "400 Bad Request: Too many input tokens. Max input tokens: 8192, request input token count: 9875",
                )
            ]
        return answer(request)

    async with serving(refuse) as (client, _):
        with pytest.raises(InputTooLongError, match="inputs 3 to 5 of 7: 400 Bad Request: Too many") as caught:
            await client.embed(EMBED, ["a", "a", "a", "a", "b", "a", "a"])
    assert caught.value.status == 400
    assert len(caught.value.attempts) == 1


async def test_a_failure_of_the_only_input_needs_no_index() -> None:
    """Its message is the service's, as it is."""
    async with serving(lambda _: [service_error("ThrottlingException", "Slow down.")]) as (client, _):
        with pytest.raises(ThrottlingError, match=r"HTTP 429: Slow down\."):
            await client.embed(EMBED, ["a"])


async def test_the_first_failure_closes_the_connections_of_the_others() -> None:
    """What would be answered later is not waited for."""
    all_are_there = anyio.Event()
    never = anyio.Event()

    def fail_last(request: ReceivedRequest) -> Script:
        if b"bad" in request.body:
            return [all_are_there, service_error("ThrottlingException", "Slow down.")]
        return [never]

    async with serving(fail_last) as (client, emulator):
        async with anyio.create_task_group() as group:

            async def call() -> None:
                with pytest.raises(ThrottlingError, match="inputs 3 to 5 of 9"):
                    await client.embed(EMBED, ["a"] * 3 + ["bad"] * 3 + ["a"] * 3)

            group.start_soon(call)
            await emulator.wait_for_requests(3)
            all_are_there.set()
        for request in emulator.requests:
            if b"bad" not in request.body:
                await request.wait_connection_closed()


async def test_cancelling_closes_all_connections() -> None:
    """Leaving a deadline is enough."""
    never = anyio.Event()
    async with serving(lambda _: [never]) as (client, emulator):
        async with anyio.create_task_group() as group:
            group.start_soon(client.embed, EMBED, ["a"] * 6)
            await emulator.wait_for_requests(2)
            group.cancel_scope.cancel()
        for request in emulator.requests:
            await request.wait_connection_closed()


@pytest.mark.parametrize("most", [1, 2, 5, 100])
async def test_no_more_requests_are_under_way_than_allowed(most: int) -> None:
    """And that many are, as long as there is something to do."""
    running: list[int] = [0]
    seen: list[int] = []

    async def send(request: EmbedRequest) -> tuple[Embeddings, ResponseMeta]:
        running[0] += 1
        seen.append(running[0])
        for _ in range(5):
            await anyio.lowlevel.checkpoint()
        running[0] -= 1
        return Embeddings([[1.0] for _ in request.inputs]), ResponseMeta()

    made = await in_batches(_batches(["a"] * 20), send, max_concurrency=most)
    assert len(made.vectors) == 20
    assert made.input_tokens is None
    assert max(seen) == min(most, 20)


async def test_a_failure_starts_nothing_more_and_cancels_the_rest() -> None:
    """Of those that wait for a turn none gets it."""
    started: list[object] = []
    cancelled: list[object] = []

    async def send(request: EmbedRequest) -> tuple[Embeddings, ResponseMeta]:
        (text,) = request.inputs
        started.append(text)
        if text == "bad":
            raise service_error("ThrottlingException", "Slow down.")
        try:
            await anyio.sleep_forever()
        except anyio.get_cancelled_exc_class():
            cancelled.append(text)
            raise
        raise AssertionError

    with pytest.raises(ThrottlingError, match="input 2 of 5: Slow down"):
        await in_batches(_batches(["a", "b", "bad", "c", "d"]), send, max_concurrency=3)
    assert started == ["a", "b", "bad"]
    assert sorted(map(str, cancelled)) == ["a", "b"]


async def test_a_place_that_a_family_names_is_one_of_the_callers() -> None:
    """The family counts the inputs of its request, the caller those of the call."""

    def refuse(request: EmbedRequest, ctx: Any) -> Any:  # noqa: ANN401 - a stand-in
        if "bad" in request.inputs:
            place = f"inputs[{request.inputs.index('bad')}]"
            raise InvalidRequestError(f"{place} is bad.", path=f"{place}.text")
        return AcmeStudio().encode_embed(request, ctx)

    async with serving(family=AcmeStudio(encode_embed=refuse)) as (client, _):
        with pytest.raises(InvalidRequestError, match=r"^inputs\[4\] is bad\.") as caught:
            await client.embed(EMBED, ["a", "a", "a", "a", "bad"])
    assert caught.value.path == "inputs[4].text"


async def test_a_failure_of_somebody_elses_comes_out_as_it_is() -> None:
    """Not in a group, and not renamed."""

    async def send(request: EmbedRequest) -> tuple[Embeddings, ResponseMeta]:
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match=r"^a bug$"):
        await in_batches(_batches(["a", "b"]), send, max_concurrency=2)


def _batches(texts: Sequence[str]) -> list[EmbedBatch]:
    return build_embed(texts, None, purpose=None, dimensions=None, normalize=None, truncate=None, fields=None)


def test_a_model_without_facts_is_given_one_input_at_a_time() -> None:
    """Every embedding model takes that."""
    assert [(batch.first, list(batch.request.inputs)) for batch in _batches(["a", "b"])] == [(0, ["a"]), (1, ["b"])]


async def test_the_service_counts_where_the_model_does_not() -> None:
    """The tokens of the header; None where one of the requests was not counted."""

    def uncounted(request: ReceivedRequest) -> Script:
        body: Any = request.json()
        vectors = json.dumps({"vectors": [vector(text) for text in body["inputs"]]}).encode()
        headers = {"content-type": "application/json"}
        if "d" not in body["inputs"]:
            headers["x-amzn-bedrock-input-token-count"] = "5"
        return [HttpAnswer(200, vectors, headers)]

    async with serving(uncounted) as (client, _):
        counted = await client.embed(EMBED, ["a", "b", "c"])
        unknown = await client.embed(EMBED, ["a", "b", "c", "d"])
    assert (counted.input_tokens, unknown.input_tokens) == (5, None)


# -- models and families that do not


async def test_a_chat_model_asked_to_embed_is_refused() -> None:
    """With what it does, the verb for that, and the way around an old table."""
    async with serving() as (client, emulator):
        with pytest.raises(InvalidRequestError, match=r"chat-1 answers with text; it makes no embeddings") as caught:
            await client.embed("acme.chat-1", ["a"])
        assert caught.value.path == "model"
        assert "client.converse()" in str(caught.value)
        assert not emulator.requests
        facts = {"profile": {"output_modalities": ["embedding"]}}
        made = await client.embed("acme.chat-1", ["a"], provider_options=facts)
    assert made.vectors == [vector("a")]


@pytest.mark.parametrize(
    ("model", "does", "verb"),
    [
        (EMBED, "makes embeddings", "client.embed()"),
        (RANK, "ranks documents", "client.rerank()"),
        (DRAW, "makes images", "client.generate_image()"),
        (FILM, "makes videos", "client.generate_video()"),
    ],
)
async def test_a_model_asked_to_chat_names_its_verb(model: str, does: str, verb: str) -> None:
    """An image model cannot converse: the error says what can be done with it."""
    async with serving() as (client, emulator):
        with pytest.raises(InvalidRequestError, match=f"{model} {does}; it does not chat") as caught:
            await client.converse(model, "Hello?", provider="invoke")
    assert verb in str(caught.value)
    assert not emulator.requests


CALLS: Final[Mapping[str, Callable[[BedrockClient, str], Any]]] = {
    "make embeddings": lambda client, model: client.embed(model, ["a"]),
    "rank documents": lambda client, model: client.rerank(model, "a?", ["a"]),
    "make images": lambda client, model: client.generate_image(model, "A cat."),
    "make videos": lambda client, model: client.generate_video(model, "A cat.", output_s3_uri=FOLDER),
}


@pytest.mark.parametrize("does", CALLS)
async def test_every_verb_refuses_a_model_that_gives_something_else(does: str) -> None:
    """Before anything is sent."""
    async with serving() as (client, emulator):
        with pytest.raises(InvalidRequestError, match=r"acme\.chat-1 answers with text; it"):
            await CALLS[does](client, "acme.chat-1")
    assert not emulator.requests


@pytest.mark.parametrize("does", CALLS)
async def test_a_family_that_only_chats_is_named(does: str) -> None:
    """A model that no table knows is tried, as far as its family goes."""
    async with serving(family=Acme()) as (client, emulator):
        with pytest.raises(PluginError, match=rf"the family 'acme' does not {does}, which acme\.new-1 was asked to"):
            await CALLS[does](client, "acme.new-1")
    assert not emulator.requests


async def test_a_model_that_no_table_knows_is_tried() -> None:
    """The table is no list of what is allowed."""
    async with serving() as (client, _):
        assert (await client.embed("acme.new-1", ["a"])).vectors == [vector("a")]


async def test_a_model_without_a_family_is_told_apart() -> None:
    """As in converse: the way is a package, or a family of one's own."""
    async with serving() as (client, _):
        with pytest.raises(PluginError, match=r"no installed family claims the model 'initech\.film-1'.*families="):
            await client.generate_video("initech.film-1", "A cat.", output_s3_uri=FOLDER)


@pytest.mark.parametrize(
    ("method", "failing", "error", "said"),
    [
        ("encode_embed", raising(KeyError("x")), PluginError, "failed in encode_embed: KeyError"),
        ("encode_embed", giving({}), PluginError, "encode_embed of the family 'acme' .* returned a dict"),
        ("decode_embed", raising(KeyError("x")), ResponseDecodeError, "the family 'acme' .* cannot read the answer"),
        ("decode_embed", giving([[1.0]]), PluginError, "returned a list, not an object of Embeddings"),
        ("decode_embed", giving(Embeddings([])), ResponseDecodeError, "has 0 vectors for 1 inputs"),
        ("decode_rerank", giving([0]), PluginError, "returned an int, not a list of RankedDocument"),
        ("decode_rerank", giving(None), PluginError, "returned a NoneType, not a list of RankedDocument"),
        ("decode_rerank", giving([RankedDocument(1, 0.5)]), ResponseDecodeError, "ranks a document 1, but 1 were sent"),
        ("decode_rerank", giving([RankedDocument(-1, 0.5)]), ResponseDecodeError, "ranks a document -1"),
        ("decode_image", giving([b"png"]), PluginError, "returned a bytes, not a list of GeneratedImage"),
        ("encode_video", giving(None), PluginError, "encode_video of the family 'acme' .* returned a NoneType"),
    ],
)
async def test_a_family_that_fails_is_named(
    method: str, failing: Callable[..., Any], error: type[Exception], said: str
) -> None:
    """Whatever it does, the error is of our tree and says which method of which family."""
    word = method.rpartition("_")[2]
    does = {"embed": "make embeddings", "rerank": "rank documents", "image": "make images", "video": "make videos"}[
        word
    ]
    model = {"embed": EMBED, "rerank": RANK, "image": DRAW, "video": FILM}[word]
    async with serving(family=AcmeStudio(**{method: failing})) as (client, _):
        with pytest.raises(error, match=said):
            await CALLS[does](client, model)


async def test_a_page_in_place_of_an_answer_is_told_apart() -> None:
    """A gateway between client and service is not read as a model's answer."""
    async with serving(lambda _: [HttpAnswer.html(200)]) as (client, _):
        with pytest.raises(UnexpectedContentTypeError, match="text/html"):
            await client.embed(EMBED, ["a"])


async def test_members_of_the_service_are_not_the_models() -> None:
    """The family sees its own members only, and counts of the service are known."""
    seen: list[Any] = []

    def decode(body: Any, headers: Any, ctx: Any) -> Embeddings:  # noqa: ANN401 - a stand-in
        seen.append(dict(body))
        return Embeddings(body["vectors"])

    native: dict[str, JSONValue] = {
        "vectors": [[1.0]],
        "amazon-bedrock-invocationMetrics": {"inputTokenCount": 3},
        "amazon-bedrock-x": 1,
    }
    async with serving(lambda _: [native], AcmeStudio(decode_embed=decode)) as (client, _):
        made = await client.embed(EMBED, ["a"])
    assert seen == [{"vectors": [[1.0]]}]
    assert made.input_tokens == 3


# -- settings


async def test_settings_of_the_client_hold_for_tasks_too() -> None:
    """As far as they are about the call; what is about conversations is not sent."""
    settings: Any = {"service_tier": "flex", "max_tokens": 5, "additional_request_fields": {"thinking": {}}}
    async with serving(settings=settings) as (client, emulator):
        await client.embed(EMBED, ["a"])
        (request,) = emulator.requests
    assert request.headers["x-amzn-bedrock-service-tier"] == "flex"
    assert request.json() == {"inputs": ["a"]}


async def test_a_call_goes_to_the_inference_profile() -> None:
    """While the model tells the family and the facts."""
    profile = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc"
    async with serving() as (client, emulator):
        made = await client.embed(EMBED, ["a"] * 4, inference_profile=profile)
    assert [request.model_id for request in emulator.requests] == [profile] * 2
    assert [meta.model for meta in made.metas] == [profile] * 2


async def test_a_misspelt_keyword_names_the_nearest() -> None:
    """As in every verb."""
    async with serving() as (client, _):
        with pytest.raises(InvalidRequestError, match=r"embed\(\) has no keyword 'service_teer'.*'service_tier'"):
            await client.embed(EMBED, ["a"], service_teer="flex")  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]


# -- rerank


async def test_documents_are_ranked() -> None:
    """Index and score, the best first, and what is known of the call."""
    async with serving() as (client, emulator):
        ranking = await client.rerank(RANK, "Which?", ["a", "b", "c"], top_n=2, additional_request_fields={"v": 2})
    assert ranking.documents == [RankedDocument(0, 1.0), RankedDocument(1, 0.5)]
    assert ranking.meta.status == 200
    assert bodies(emulator) == [{"query": "Which?", "texts": ["a", "b", "c"], "most": 2, "v": 2}]


@pytest.mark.parametrize(
    ("query", "documents", "top_n", "path"),
    [
        (" ", ["a"], None, "query"),
        (None, ["a"], None, "query"),
        (5, ["a"], None, "query"),
        ("a?", [], None, "documents"),
        ("a?", "abc", None, "documents"),
        ("a?", None, None, "documents"),
        ("a?", ["a", 5], None, "documents[1]"),
        ("a?", ["a"], 0, "top_n"),
    ],
)
async def test_what_cannot_be_ranked_is_refused(query: Any, documents: Any, top_n: int | None, path: str) -> None:  # noqa: ANN401
    """The error names the place."""
    async with serving() as (client, emulator):
        with pytest.raises(InvalidRequestError) as caught:
            await client.rerank(RANK, query, documents, top_n=top_n)
    assert caught.value.path == path
    assert not emulator.requests


# -- images


async def test_images_are_bytes_with_their_format() -> None:
    """Base64 is the family's affair."""
    async with serving() as (client, emulator):
        made = await client.generate_image(DRAW, "A cat.", width=64, height=32, images=[IMAGE])
    assert made.images == [GeneratedImage(b"A cat.", "png")]
    assert made.meta.model == DRAW
    assert bodies(emulator) == [{"prompt": "A cat.", "size": [64, 32], "from": 1}]


async def test_large_images_are_encoded_beside_the_loop() -> None:
    """Megabytes of base64 do not hold up other calls, and arrive whole."""
    threads: list[int] = []

    def encode(request: Any, ctx: Any) -> Any:  # noqa: ANN401 - a stand-in
        threads.append(threading.get_ident())
        return AcmeStudio().encode_image(request, ctx)

    large = ImageBlock(format="png", source=MediaSource(bytes=PNG + bytes(LARGE_BODY_BYTES)))
    async with serving(family=AcmeStudio(encode_image=encode)) as (client, _):
        await client.generate_image(DRAW, "A cat.", images=[large])
        await client.generate_image(DRAW, "A cat.", images=[IMAGE])
    assert threads[0] != threading.get_ident()
    assert threads[1] == threading.get_ident()


@pytest.mark.parametrize(
    ("arguments", "path"),
    [
        ({}, "prompt"),
        ({"prompt": " "}, "prompt"),
        ({"prompt": "A cat.", "width": 0}, "width"),
        ({"prompt": "A cat.", "count": -1}, "count"),
        ({"prompt": "A cat.", "images": [PNG]}, "images[0]"),
        ({"prompt": "A cat.", "images": IMAGE}, "images"),
        ({"prompt": 5}, "prompt"),
        ({"prompt": "A cat.", "aspect_ratio": 1.5}, "aspect_ratio"),
        ({"prompt": "A cat.", "width": 12.5}, "width"),
        ({"prompt": "A cat.", "mask": {"image": {"format": "gif", "source": {"bytes": PNG}}}}, "mask.format"),
    ],
)
async def test_what_makes_no_image_is_refused(arguments: dict[str, Any], path: str) -> None:
    """The error names the place."""
    async with serving() as (client, emulator):
        with pytest.raises(InvalidRequestError) as caught:
            await client.generate_image(DRAW, **arguments)
    assert caught.value.path == path
    assert not emulator.requests


async def test_an_image_can_be_made_of_images_alone() -> None:
    """Removing a background needs no prompt."""
    async with serving(lambda _: [{"drawings": []}]) as (client, _):
        assert (await client.generate_image(DRAW, images=[IMAGE], task="BACKGROUND_REMOVAL")).images == []


# -- videos


@pytest.fixture(scope="module")
def s3() -> Generator[S3Server]:
    """One S3 for the module."""
    with s3_server() as server:
        yield server


@asynccontextmanager
async def filming(
    s3: S3Server, script: JobScript | Callable[[Mapping[str, Any]], JobScript], **methods: Callable[..., Any]
) -> AsyncGenerator[BedrockClient]:
    """A client of an emulator whose jobs write to S3."""
    async with (
        S3ObjectStore(s3.url, credentials=CREDENTIALS) as store,
        BedrockEmulator([JobModel(script)], object_store=store) as emulator,
        BedrockClient(
            region="us-east-1",
            endpoint_url=emulator.url,
            credentials=CREDENTIALS,
            families={"acme": AcmeStudio(**methods)},
        ) as client,
    ):
        yield client


async def test_a_video_from_prompt_to_bytes(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """The family writes the job's input and reads its output; the handle is typed."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", s3.url)
    place = f"s3://{s3.bucket()}/videos"
    inputs: list[Any] = []

    def film(model_input: Mapping[str, Any]) -> JobScript:
        inputs.append(model_input)
        return JobScript.video(b"frames", polls=0)

    async with filming(s3, film) as client:
        job = await client.generate_video(
            FILM, "A cat.", output_s3_uri=place, duration_s=6, additional_request_fields={"fps": 24}
        )
        assert isinstance(job, VideoJob)
        assert job.arn in repr(job)
        assert (await job.wait()).status == await job.status() == "Completed"
        video = await job.result()
        names = [output.name for output in (await job.output()).outputs]
    assert video == GeneratedVideo("output.mp4", b"frames", "mp4")
    assert "shot_0001.mp4" in names
    assert inputs == [{"prompt": "A cat.", "seconds": 6, "fps": 24}]


@pytest.mark.parametrize(
    ("methods", "error", "said"),
    [
        ({"video_object": giving("other.mp4")}, ObjectNotFoundError, "wrote no object 'other.mp4'.*output.mp4"),
        ({"video_object": raising(KeyError("x"))}, PluginError, "failed in video_object"),
        ({"video_object": giving(None)}, PluginError, "returned a NoneType, not the name of an object"),
        ({"decode_video": raising(ValueError("x"))}, ResponseDecodeError, "cannot read the answer of 6 bytes"),
        ({"decode_video": giving(b"frames")}, PluginError, "returned a bytes, not an object of GeneratedVideo"),
    ],
)
async def test_a_video_that_cannot_be_read_is_an_error(
    s3: S3Server,
    monkeypatch: pytest.MonkeyPatch,
    methods: dict[str, Callable[..., Any]],
    error: type[Exception],
    said: str,
) -> None:
    """It names the family, or what there is in place of the video."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", s3.url)
    place = f"s3://{s3.bucket()}/videos"
    async with filming(s3, JobScript.video(b"frames", polls=0), **methods) as client:
        job = await client.generate_video(FILM, "A cat.", output_s3_uri=place)
        with pytest.raises(error, match=said):
            await job.result()


@pytest.mark.parametrize(
    ("arguments", "path"),
    [
        ({"output_s3_uri": "bucket/videos", "prompt": "A cat."}, "output_s3_uri"),
        ({"output_s3_uri": FOLDER}, "prompt"),
        ({"output_s3_uri": FOLDER, "prompt": "A cat.", "duration_s": 0}, "duration_s"),
    ],
)
async def test_what_makes_no_video_is_refused(arguments: dict[str, Any], path: str) -> None:
    """Before a job is started."""
    async with serving() as (client, emulator):
        with pytest.raises(InvalidRequestError) as caught:
            await client.generate_video(FILM, **arguments)
    assert caught.value.path == path
    assert not emulator.requests


# -- recorded traffic, through the families of the vendors


@asynccontextmanager
async def replaying(recorded: Exchange) -> AsyncGenerator[tuple[BedrockClient, BedrockEmulator]]:
    """A client of an emulator that answers with an exchange."""
    model = ReplayModel.from_directory(CORPUS / "exchanges", select=lambda each: each.id in recorded.id)
    async with (
        BedrockEmulator([model]) as emulator,
        BedrockClient(region="us-east-1", endpoint_url=emulator.url, credentials=CREDENTIALS, retry=NO_RETRY) as client,
    ):
        yield client, emulator


async def test_recorded_embeddings_are_what_they_were() -> None:
    """The request is the recorded one, the vectors are the recorded ones, three texts in one request."""
    recorded = exchange("invoke__cohere.embed__200__f6a531376f4346b1")
    async with replaying(recorded) as (client, emulator):
        made = await client.embed(
            recorded.model_id, ["Ruby", "Python", "JavaScript"], purpose="document", dimensions=512
        )
    assert made.vectors == recorded.response_json["embeddings"]["float"]
    assert made.input_tokens == int(recorded.response_headers["X-Amzn-Bedrock-Input-Token-Count"])
    assert bodies(emulator) == [recorded.request_json]


async def test_a_recorded_ranking_is_what_it_was() -> None:
    """Indices and scores, the best first."""
    recorded = exchange("invoke__cohere.rerank__200__a8271c5ab0826f5e")
    asked = recorded.request_json
    async with replaying(recorded) as (client, emulator):
        ranking = await client.rerank(recorded.model_id, asked["query"], asked["documents"], top_n=asked["top_n"])
    assert [(document.index, document.score) for document in ranking.documents] == [
        (each["index"], each["relevance_score"]) for each in recorded.response_json["results"]
    ]
    assert bodies(emulator) == [asked]
