"""`bedrock-async verify` and `bedrock-async replay`: the contract, its costs, and the cassette that it leaves."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import pytest
from commandline import CREDENTIALS, run, serving, spawn
from typer.testing import Result

from bedrock_async import (
    NO_RETRY,
    BedrockClient,
    ClientClosedError,
    ConverseResponse,
    Credentials,
    ServiceError,
    ValidationError,
)
from bedrock_async.cli.checks import CHECKS, native_body
from bedrock_async.cli.contract import Check, Configuration, Subject, same
from bedrock_async.cli.spending import (
    OverBudgetError,
    SpendingGuard,
    Tokens,
    UnknownPriceError,
    bound_usd,
    price_list,
    tokens_used,
)
from bedrock_async.cli.verify import Outcome, VerifyOptions, examine_one
from bedrock_async.errors import service_error
from bedrock_async.testing import (
    Cassette,
    CassetteExchange,
    CassetteRequest,
    CassetteResponse,
    Control,
    ReceivedRequest,
    RecordedPiece,
    Script,
    ScriptedModel,
    chunk_frame,
    read_cassette,
    service_model,
    stream_bytes,
    text_events,
)
from bedrock_async.testing.canned import CannedResponse, CannedTransport
from bedrock_async.transport import WireRequest

MODEL: Final = "us.amazon.nova-lite-v1:0"
PRICED: Final = ("--price", "guardrail=0.001", "--price", "job=0.001")
LIVE: Final = ("verify", "--live", "--model", MODEL)
# GetAsyncInvoke is part of the check of StartAsyncInvoke; a conversation needs a model that is made for it.
OPERATIONS_WITHOUT_CHECK: Final = {"InvokeModelWithBidirectionalStream", "GetAsyncInvoke"}


def report(*arguments: str) -> tuple[Result, dict[str, Any]]:
    """Run `verify --json` and return the result and the document."""
    result = run(*arguments, "--json", env=CREDENTIALS)
    document: dict[str, Any] = json.loads(result.stdout)
    return result, document


def states(document: Mapping[str, Any]) -> dict[str, str]:
    """Return the state of each check."""
    return {check["name"]: check["state"] for check in document["checks"]}


# -- the contract


def test_everything_agrees_on_the_scripted_model(tmp_path: Path) -> None:
    """Without an account the whole contract is gone through, and leaves a cassette of all its calls."""
    path = tmp_path / "account.json"
    result, document = report("verify", "--cassette", str(path))
    assert result.exit_code == 0
    assert set(states(document).values()) == {"agrees"}
    assert list(states(document)) == [check.name for check in CHECKS]
    assert document["live"] is False
    assert document["compared_with_botocore"]
    held = read_cassette(path).exchanges
    assert {each.label for each in held} == set(states(document))
    text = path.read_text("utf-8")
    for secret in ("wJalrXUtnFEMI", "AKIDEXAMPLE", "AKIDNOSUCHKEY", "the-emulators-key", "no-such-key"):
        assert secret not in text


def test_the_contract_is_complete() -> None:
    """Every operation of the service has a check, and every check a name and a promise of its own."""
    checked = {check.operation for check in CHECKS}
    assert checked == set(service_model().operation_names) - OPERATIONS_WITHOUT_CHECK
    assert len({check.name for check in CHECKS}) == len({check.promise for check in CHECKS}) == len(CHECKS)


def test_people_get_a_table() -> None:
    """Columns, a line for each check, and a summary on stderr that says what was asked."""
    result = run("verify", "--only", "converse", "--only", "stream")
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["check", "operation", "what", "was", "seen", "ms", "cost", "state"]
    assert [line.split()[0] for line in lines[1:]] == ["converse", "stream"]
    assert all(line.endswith("agrees") for line in lines[1:])
    assert result.stderr.startswith("2 agree. the emulator in this process: no account.")


def test_the_contract_agrees_on_its_own_recording(tmp_path: Path) -> None:
    """The cassette of one run, served by `replay`, passes the contract: it is a regression test of that account."""
    path = tmp_path / "account.json"
    assert run("verify", "--cassette", str(path)).exit_code == 0
    job = tmp_path / "input.json"
    job.write_text(json.dumps({"messages": [{"role": "user", "content": [{"text": "Hi"}]}]}))
    with replaying(path, "--once") as url:
        result, document = report(
            *("verify", "--live", "--endpoint-url", url, "--model", "us.amazon.nova-2-lite-v1:0"),
            *("--guardrail", "demonstration", "--guardrail-checks", "--output-s3-uri", "s3://demonstration/output"),
            *("--async-model", "us.amazon.nova-2-lite-v1:0", "--async-input", str(job), *PRICED),
        )
    assert states(document) == dict.fromkeys(states(document), "agrees")
    assert result.exit_code == 0
    assert 0 < document["spent_usd"] < 0.05


def test_what_the_account_does_not_offer_is_skipped() -> None:
    """Checks that need an option say which; a model without a known dialect is not asked in it."""
    with serving(ScriptedModel.text("pong", model_ids=("acme.model",))) as (emulator, _):
        result, document = report(
            *("verify", "--live", "--model", "acme.model", "--endpoint-url", emulator.url, "--no-max-cost"),
            *(
                argument
                for name in ("apply-guardrail", "guardrail-checks", "async-invoke", "invoke", "reasoning")
                for argument in ("--only", name)
            ),
        )
    assert result.exit_code == 0
    assert set(states(document).values()) == {"skipped"}
    details = {check["name"]: check["detail"] for check in document["checks"]}
    assert details["apply-guardrail"] == "it needs --guardrail"
    assert details["async-invoke"] == "it needs --output-s3-uri"
    assert "--native-body" in details["invoke"]


def test_what_a_model_refuses_is_told_and_is_no_fault() -> None:
    """A model that takes no tools is refused by the service; the contract goes on, and the exit status is 0."""

    def script(request: ReceivedRequest) -> Script:
        if b"toolConfig" in request.body:
            return [service_error("ValidationException", "This model doesn't support tool use.")]
        return text_events("pong")

    with serving(ScriptedModel(script, model_ids=(MODEL,))) as (emulator, _):
        result, document = report(
            *LIVE, "--endpoint-url", emulator.url, "--only", "converse", "--only", "tools", "--max-cost", "1"
        )
    assert result.exit_code == 0
    assert states(document) == {"converse": "agrees", "tools": "refused"}
    assert document["checks"][1]["detail"] == "ValidationException: This model doesn't support tool use."


def test_an_account_without_access_fails_the_contract() -> None:
    """Where not even the simplest call is answered, nothing can be said for the client: the exit status is 1."""
    denied = [service_error("AccessDeniedException", "You don't have access to the model.")]
    with serving(ScriptedModel(denied, model_ids=(MODEL,))) as (emulator, _):
        result, document = report(*LIVE, "--endpoint-url", emulator.url, "--only", "converse")
    assert result.exit_code == 1
    assert states(document) == {"converse": "refused"}


def test_a_broken_answer_is_a_failure() -> None:
    """What the client cannot read is told with the class of its error; the next check is made all the same."""
    scripts: list[Script] = [[b"{"], text_events("pong")]
    answers = iter(scripts)
    with serving(ScriptedModel(lambda _: next(answers), model_ids=(MODEL,))) as (emulator, _):
        result = run(*LIVE, "--endpoint-url", emulator.url, "--only", "converse", "--only", "stream", env=CREDENTIALS)
    assert result.exit_code == 1
    first, second = (line.split() for line in result.stdout.splitlines()[1:3])
    assert (first[0], first[-1], second[0], second[-1]) == ("converse", "failed", "stream", "agrees")
    assert "converse: ResponseDecodeError" in result.stdout


def test_other_credentials_go_to_the_same_place(tmp_path: Path) -> None:
    """The check of a key that nobody issued asks the region and endpoint that the profile names, without its keys."""
    config = tmp_path / "config"
    with serving(ScriptedModel.text("pong", model_ids=(MODEL,))) as (emulator, _):
        config.write_text(
            f"[profile p]\nregion = eu-west-1\nendpoint_url = {emulator.url}\n"
            "aws_access_key_id = AKIDPROFILE\naws_secret_access_key = secret\n"
        )
        run(*LIVE, "--profile", "p", "--only", "converse", "--only", "bad-key", env={"AWS_CONFIG_FILE": str(config)})
        signed = [each.headers["authorization"] for each in emulator.requests]
    assert [text.split("Credential=")[1].split("/")[0] for text in signed] == ["AKIDPROFILE", "AKIDNOSUCHKEYEXAMPLE"]
    assert all("/eu-west-1/bedrock/" in text for text in signed)


def test_missing_credentials_end_it_at_once() -> None:
    """No check can do without credentials: the error is told once."""
    result = run(*LIVE, "--endpoint-url", "http://127.0.0.1:9", "--max-cost", "1")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert "error:" in result.stderr


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT for a single process")
def test_ctrl_c_shows_what_was_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Interrupted in a call, it tells of the checks before, and ends with 130."""

    def script(request: ReceivedRequest) -> Script:
        return [Control.SILENCE] if (request.operation or "").endswith("Stream") else text_events("pong")

    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    with serving(ScriptedModel(script, model_ids=(MODEL,))) as (emulator, portal):
        process = spawn(*LIVE, "--endpoint-url", emulator.url, "--max-cost", "1")
        portal.call(emulator.wait_for_requests, 2)
        process.send_signal(signal.SIGINT)
        stdout, _ = process.communicate()
    assert process.returncode == 130
    assert [line.split()[0] for line in stdout.decode().splitlines()] == ["check", "converse"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--only", "nonsense"), "no check 'nonsense'"),
        (("--price", "tea=3"), "--price tea=3 cannot be parsed"),
        (("--price", "input=x"), "--price input=x cannot be parsed"),
        (("--price", "input=3"), "both input and output"),
        (("--live", "--native-body", "none.json"), "none.json cannot be read"),
        (("--live", "--async-input", "list.json"), "list.json does not contain a JSON object"),
    ],
)
def test_wrong_options_are_told(
    arguments: Sequence[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error says what is wrong, before anything is sent."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "list.json").write_text("[]")
    result = run("verify", *arguments)
    assert (result.exit_code, result.stdout) == (1, "")
    assert said in result.stderr


def test_options_of_an_account_need_live() -> None:
    """Without --live an option that says what to ask is refused: it would be ignored."""
    result = run("verify", "--model", MODEL, "--guardrail", "x")
    assert result.exit_code == 2
    assert "--model, --guardrail" in " ".join(result.stderr.replace("│", " ").split())


@pytest.mark.parametrize(
    "model",
    [
        "anthropic.claude-sonnet-4-20250514-v1:0",
        "amazon.nova-lite-v1:0",
        "amazon.titan-text-express-v1",
        "meta.llama3-1-8b-instruct-v1:0",
        "mistral.mistral-7b-instruct-v0:2",
        "cohere.command-r-v1:0",
        "openai.gpt-oss-20b-1:0",
        "qwen.qwen3-32b-v1:0",
        "deepseek.v3-v1:0",
    ],
)
def test_native_bodies_limit_their_output(model: str) -> None:
    """Every dialect that is known here says how long the answer may be, so that its cost is bounded."""
    body = native_body(model)
    assert body is not None
    request = WireRequest("POST", f"https://x/model/{model}/invoke", {}, json.dumps(body).encode())
    bytes_and_more = len(request.body) + 600
    assert bound_usd(request, price_list(["input=1", "output=1000000"])) == 100 + Decimal(bytes_and_more) / 1_000_000


# -- a single check


def subject_of(*answers: CannedResponse, official: bool = True) -> Subject:
    """Return a subject whose service gives these answers."""
    cassette = Cassette(mode="record", transport=CannedTransport(answers))
    guard = SpendingGuard(cassette, price_list([]), None)

    def open_client(**keywords: Any) -> BedrockClient:  # noqa: ANN401
        return BedrockClient(region="us-east-1", transport=guard, credentials=Credentials("a", "b"), **keywords)

    return Subject(open_client(), open_client, guard, cassette, Configuration(model=MODEL), official)


ANSWER: Final = {
    "output": {"message": {"role": "assistant", "content": [{"text": "pong"}]}},
    "stopReason": "end_turn",
    "usage": {"inputTokens": 1, "outputTokens": 1, "totalTokens": 2},
    "metrics": {"latencyMs": 1},
}


async def test_a_reading_that_differs_disagrees() -> None:
    """When the client's objects say something else than the bytes, both comparisons break, and the check with them."""

    async def lie(subject: Subject) -> None:
        await subject.client.converse(MODEL, "Hi", max_tokens=1)
        subject.agree("Converse", ConverseResponse.from_wire(json.dumps({**ANSWER, "stopReason": "max_tokens"})))

    check = Check(name="lie", operation="Converse", promise="", run=lie)
    outcome = await examine_one(check, subject_of(CannedResponse([json.dumps(ANSWER).encode()])), VerifyOptions())
    assert outcome.state == "disagrees"
    assert outcome.faulty
    assert outcome.detail.startswith("not so: to_wire() is the JSON that came")
    assert [finding.holds for finding in outcome.findings] == [False, False]


async def test_events_that_differ_disagree() -> None:
    """An event too few is noticed by counting frames, and by botocore."""

    async def lie(subject: Subject) -> None:
        events = [event async for event in subject.client.stream(MODEL, "Hi", max_tokens=1)]
        subject.agree_events("ConverseStream", events)
        subject.agree_events("ConverseStream", events[1:])

    body = CannedResponse.stream(text_events("pong"))
    check = Check(name="lie", operation="ConverseStream", promise="", run=lie)
    outcome = await examine_one(check, subject_of(body), VerifyOptions())
    assert [finding.holds for finding in outcome.findings] == [True, True, False, False]


async def test_without_botocore_the_bytes_judge_alone() -> None:
    """Nothing is said of botocore where it is not installed."""

    async def look(subject: Subject) -> None:
        subject.agree("Converse", await subject.client.converse(MODEL, "Hi", max_tokens=1))

    check = Check(name="look", operation="Converse", promise="", run=look)
    subject = subject_of(CannedResponse([json.dumps(ANSWER).encode()]), official=False)
    outcome = await examine_one(check, subject, VerifyOptions())
    assert (outcome.state, len(outcome.findings)) == ("agrees", 1)


@pytest.mark.parametrize(
    ("answer", "held"),
    [
        (
            CannedResponse([b'{"message":"Slow."}'], status=429, headers={"x-amzn-errortype": "ThrottlingException"}),
            [0, 1],
        ),
        (
            CannedResponse([b'{"message":"No."}'], status=400, headers={"x-amzn-errortype": "ValidationException"}),
            [1, 1],
        ),
    ],
)
async def test_a_refusal_is_compared_with_what_came(answer: CannedResponse, held: list[int]) -> None:
    """The class must be the expected one; code and message must be those that botocore reads."""

    async def ask(subject: Subject) -> None:
        call = subject.client.converse(MODEL, "Hi", max_tokens=1, retry=NO_RETRY)
        await subject.refusal("Converse", call, ValidationError)

    check = Check(name="ask", operation="Converse", promise="", run=ask)
    outcome = await examine_one(check, subject_of(answer), VerifyOptions())
    kinds = [finding.holds for finding in outcome.findings]
    assert [int(kinds[0]), int(kinds[-1])] == held


async def test_a_refusal_that_does_not_come_disagrees() -> None:
    """A call that should have been refused, and was answered, is a finding."""

    async def ask(subject: Subject) -> None:
        await subject.refusal("Converse", subject.client.converse(MODEL, "Hi", max_tokens=1), ServiceError)

    check = Check(name="ask", operation="Converse", promise="", run=ask)
    outcome = await examine_one(check, subject_of(CannedResponse([json.dumps(ANSWER).encode()])), VerifyOptions())
    assert outcome.state == "disagrees"


async def test_a_model_that_does_not_obey_is_no_fault() -> None:
    """A model that answers where it should use the tool, or goes on after its end, has a state of its own."""
    checks = {check.name: check for check in CHECKS}
    going_on = {**ANSWER, "output": {"message": {"role": "assistant", "content": [{"text": "1 2 3 4 5 6 7 8 9"}]}}}
    for name, answers in {
        "tools": [CannedResponse([json.dumps(ANSWER).encode()])] * 2,
        "tools-stream": [CannedResponse.stream(text_events("It rains."))],
        "max-tokens": [CannedResponse([json.dumps(ANSWER).encode()])],
        "system-and-stop": [CannedResponse([json.dumps(going_on).encode()])],
    }.items():
        outcome = await examine_one(checks[name], subject_of(*answers), VerifyOptions())
        assert outcome.state == "model differs", (name, outcome)
        assert outcome.detail.startswith("not so: ")
        assert not outcome.faulty


async def test_a_reading_that_differs_weighs_more_than_the_model() -> None:
    """Where both are not so, it is the client's part that is told."""

    async def both(subject: Subject) -> None:
        subject.expect_of_model(False, "the model obeys")  # noqa: FBT003
        subject.expect(False, "the bytes agree")  # noqa: FBT003

    outcome = await examine_one(Check(name="x", operation="x", promise="", run=both), subject_of(), VerifyOptions())
    assert (outcome.state, outcome.detail) == ("disagrees", "not so: the bytes agree")


async def test_an_error_that_is_none_of_the_clients_own_is_a_failure() -> None:
    """A bug in the client does not end the run; its class is told, and nothing of what it holds."""

    async def bug(subject: Subject) -> None:
        raise KeyError("a secret")

    outcome = await examine_one(Check(name="bug", operation="x", promise="", run=bug), subject_of(), VerifyOptions())
    assert outcome.state == "failed"
    assert outcome.detail == "KeyError, which is not one of the client's errors"


@pytest.mark.parametrize(
    ("state", "essential", "faulty"),
    [
        ("agrees", True, False),
        ("refused", True, True),
        ("refused", False, False),
        ("not run", True, True),
        ("model differs", False, False),
        ("model differs", True, False),
        ("failed", False, True),
    ],
)
def test_what_counts_as_a_fault(state: Any, *, essential: bool, faulty: bool) -> None:  # noqa: ANN401
    """What disagrees or fails, and an essential check that did not agree."""

    async def nothing(subject: Subject) -> None:
        """Look at nothing."""

    check = Check(name="x", operation="x", promise="x", run=nothing, essential=essential)
    assert Outcome(check, state).faulty is faulty


def test_times_may_be_spelt_differently() -> None:
    """Two spellings of one time are the same; two times, or a time in a text, are not."""
    assert same({"a": ["2025-01-01T00:00:00.5Z"]}, {"a": ["2025-01-01T00:00:00.500000Z"]})
    assert not same({"a": "2025-01-01T00:00:00Z"}, {"a": "2025-01-01T00:00:01Z"})
    assert not same({"a": "at 2025-01-01T00:00:00.5Z"}, {"a": "at 2025-01-01T00:00:00.50Z"})


# -- costs


def wire(path: str, body: object, method: str = "POST") -> WireRequest:
    """Return a request as it goes to the transport."""
    return WireRequest(method, f"https://bedrock-runtime.us-east-1.amazonaws.com{path}", {}, json.dumps(body).encode())


CONVERSE: Final = {"messages": [{"role": "user", "content": [{"text": "Hi"}]}], "inferenceConfig": {"maxTokens": 100}}
PER_TOKEN: Final = ("input=1", "output=10")


@pytest.mark.parametrize(
    ("path", "body", "expected"),
    [
        (f"/model/{MODEL}/converse", CONVERSE, len(json.dumps(CONVERSE)) + 600 + 1000),
        (f"/gateway/model/{MODEL}/converse-stream", CONVERSE, len(json.dumps(CONVERSE)) + 600 + 1000),
        (f"/model/{MODEL}/invoke", {"max_tokens": 5}, len('{"max_tokens": 5}') + 600 + 50),
        (f"/model/{MODEL}/count-tokens", {}, 0),
        ("/async-invoke/arn", {}, None),
    ],
)
def test_the_bound_is_bytes_in_and_the_limit_out(path: str, body: object, expected: int | None) -> None:
    """Input has no more tokens than bytes and a tool prompt; output no more than asked for; counting is free."""
    if expected is None:
        assert bound_usd(wire(path, body, "GET"), price_list([])) == 0
    else:
        assert bound_usd(wire(path, body), price_list(PER_TOKEN)) == Decimal(expected) / 1_000_000


def test_caching_and_guardrails_cost_more() -> None:
    """A prompt that is cached is bounded by the dearest way to write it; a guardrail adds its own price."""
    cached = {**CONVERSE, "system": [{"text": "x"}, {"cachePoint": {"type": "default"}}]}
    body_bytes = len(json.dumps(cached))
    path = f"/model/{MODEL}/converse"
    assert bound_usd(wire(path, cached), price_list(PER_TOKEN)) == Decimal(2 * (body_bytes + 600) + 1000) / 1_000_000
    guarded = {**CONVERSE, "guardrailConfig": {}}
    plain = Decimal(len(json.dumps(guarded)) + 1600) / 1_000_000
    assert bound_usd(wire(path, guarded), price_list([*PER_TOKEN, "guardrail=0.5"])) == plain + Decimal("0.5")
    assert bound_usd(wire("/guardrail/g/version/1/apply", {}), price_list(["guardrail=0.5"])) == Decimal("0.5")
    assert bound_usd(wire("/guardrail-checks/invoke", {}), price_list(["guardrail=0.5"])) == Decimal("0.5")
    assert bound_usd(wire("/async-invoke", {}), price_list(["job=0.25"])) == Decimal("0.25")


@pytest.mark.parametrize(
    ("path", "body", "said"),
    [
        ("/model/acme.unheard-of/converse", CONVERSE, "genai-prices has no price for the model acme.unheard-of"),
        (f"/model/{MODEL}/converse", {"messages": []}, "does not limit its output"),
        (f"/model/{MODEL}/invoke", [], "does not limit its output"),
        ("/guardrail/g/version/1/apply", {}, "the price of a guardrail"),
        ("/async-invoke", {}, "the price of a job"),
        ("/model/m/new-operation", {}, "the cost of POST /model/m/new-operation"),
    ],
)
async def test_what_nobody_can_price_is_not_sent(path: str, body: object, said: str) -> None:
    """An unknown price is no low price: the call is not made, unless the limit is waived, and then it is counted."""
    transport = CannedTransport([CannedResponse()])
    guard = SpendingGuard(transport, price_list([]), Decimal(1000))
    with pytest.raises(UnknownPriceError, match=said) as caught:
        await guard.send(wire(path, body), connect_timeout_s=1.0)
    assert caught.value.hint
    assert transport.requests == []
    waived = SpendingGuard(transport, price_list([]), None)
    await waived.send(wire(path, body), connect_timeout_s=1.0)
    assert (len(transport.requests), waived.unpriced) == (1, 1)


def test_without_genai_prices_prices_must_be_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the extra that brings the price list, and the option that replaces it."""
    monkeypatch.setitem(sys.modules, "genai_prices", None)
    with pytest.raises(UnknownPriceError, match="genai-prices is not installed") as caught:
        bound_usd(wire(f"/model/{MODEL}/converse", CONVERSE), price_list([]))
    assert "bedrock-async[cost]" in str(caught.value)
    assert bound_usd(wire(f"/model/{MODEL}/converse", CONVERSE), price_list(PER_TOKEN)) > 0


async def test_no_call_goes_over_the_limit() -> None:
    """The call that could exceed the limit is not sent; the message tells what is left."""
    request = wire(f"/model/{MODEL}/converse", CONVERSE)
    bound = bound_usd(request, price_list(PER_TOKEN))
    transport = CannedTransport([CannedResponse()])
    guard = SpendingGuard(transport, price_list(PER_TOKEN), bound * 5 / 2)
    for _ in range(2):
        await guard.send(request, connect_timeout_s=1.0)
    with pytest.raises(OverBudgetError, match=r"could cost \$0\.\d+, and \$0\.\d+ of \$0\.\d+ are left"):
        await guard.send(request, connect_timeout_s=1.0)
    assert len(transport.requests) == 2
    assert guard.spent_usd == 2 * bound


async def test_what_calls_did_cost_takes_the_place_of_their_bounds() -> None:
    """Tokens that the service reports are what counts; refusals cost nothing; what is not known stays at its bound."""
    request = wire(f"/model/{MODEL}/converse", CONVERSE)
    bound = bound_usd(request, price_list(PER_TOKEN))
    guard = SpendingGuard(CannedTransport([CannedResponse()]), price_list(PER_TOKEN), None)
    for _ in range(3):
        await guard.send(request, connect_timeout_s=1.0)
    sent = CassetteRequest("POST", f"/model/{MODEL}/converse", request.body)
    answered = CassetteResponse(200, {}, (RecordedPiece(json.dumps(ANSWER).encode()),))
    guard.settle(
        [CassetteExchange(sent, answered), CassetteExchange(sent, CassetteResponse(400, {})), CassetteExchange(sent)]
    )
    assert guard.spent_usd == Decimal(1 + 10) / 1_000_000 + bound
    guard.settle([CassetteExchange(sent, answered)])  # of a call that was settled already
    assert guard.spent_usd == Decimal(1 + 10) / 1_000_000 + bound


async def test_a_call_that_was_never_sent_shifts_no_costs() -> None:
    """What is not recorded, for nothing went out, keeps its bound; the calls after it have their own costs."""
    calls = [wire(f"/model/{MODEL}/converse", {**CONVERSE, "system": [{"text": "x" * size}]}) for size in (1000, 1)]
    bounds = [bound_usd(call, price_list(PER_TOKEN)) for call in calls]
    transport = CannedTransport([ClientClosedError("closed"), CannedResponse([json.dumps(ANSWER).encode()])])
    cassette = Cassette(mode="record", transport=transport)
    guard = SpendingGuard(cassette, price_list(PER_TOKEN), None)
    with pytest.raises(ClientClosedError):
        await guard.send(calls[0], connect_timeout_s=1.0)
    await (await guard.send(calls[1], connect_timeout_s=1.0)).read(1000)
    assert guard.spent_usd == sum(bounds)
    guard.settle(cassette.recorded)
    assert guard.spent_usd == bounds[0] + Decimal(1 + 10) / 1_000_000


METADATA: Final = {
    "usage": {"inputTokens": 10, "outputTokens": 5, "cacheReadInputTokens": 100, "cacheWriteInputTokens": 7}
}
STREAM: Final = {"content-type": "application/vnd.amazon.eventstream"}


@pytest.mark.parametrize(
    ("body", "headers", "tokens"),
    [
        (json.dumps(METADATA).encode(), {}, Tokens(124, 5)),
        (stream_bytes([{"messageStart": {}}, {"metadata": METADATA}]), STREAM, Tokens(124, 5)),  # type: ignore[dict-item]
        (b"{}", {"x-amzn-bedrock-input-token-count": "3", "x-amzn-bedrock-output-token-count": "4"}, Tokens(3, 4)),
        (chunk_frame({"completion": "x"}), STREAM, None),
        (b'{"usage": 3}', {}, None),
        (b"", {}, None),
    ],
)
def test_tokens_are_found_where_the_service_reports_them(
    body: bytes, headers: dict[str, str], tokens: Tokens | None
) -> None:
    """In the body of a whole answer, in the last event of a stream, in headers; else they are not known."""
    response = CassetteResponse(200, headers, (RecordedPiece(body),))
    assert tokens_used(CassetteExchange(CassetteRequest("POST", "/"), response)) == tokens


def test_the_run_stops_at_its_limit() -> None:
    """With little money the cheap checks are made and the dear ones are not; what was spent stays below the limit."""
    with serving(ScriptedModel.text("pong", model_ids=(MODEL,))) as (emulator, _):
        result, document = report(
            *LIVE, "--endpoint-url", emulator.url, "--max-cost", "0.0001", "--only", "converse", "--only", "cache"
        )
    assert states(document) == {"converse": "agrees", "cache": "not run"}
    assert "--max-cost" in document["checks"][1]["detail"]
    assert document["spent_usd"] <= 0.0001
    assert result.exit_code == 0


def test_a_model_without_a_price_is_not_asked() -> None:
    """The reason is told, and the way around it; nothing reached the service."""
    with serving(ScriptedModel.text("pong")) as (emulator, _):
        result, document = report(
            *("verify", "--live", "--model", "acme.unheard-of", "--endpoint-url", emulator.url, "--only", "converse")
        )
        assert not emulator.requests
    assert result.exit_code == 1
    assert states(document) == {"converse": "not run"}
    assert "has no price for the model acme.unheard-of" in document["checks"][0]["detail"]


# -- replay


@contextmanager
def replaying(path: Path, *arguments: str) -> Generator[str]:
    """Serve a cassette in a process of its own; yield the URL."""
    process = spawn("replay", str(path), "--port", "0", *arguments)
    try:
        assert process.stdout is not None
        yield process.stdout.readline().decode().strip()
    finally:
        process.kill()
        process.communicate()


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT for a single process")
def test_a_cassette_is_served(tmp_path: Path) -> None:
    """Any client is answered, the last of equal exchanges again and again; Ctrl-C ends it with 130."""
    path = tmp_path / "tape.json"
    assert run("verify", "--only", "converse", "--cassette", str(path)).exit_code == 0
    process = spawn("replay", str(path), "--port", "0")
    assert process.stdout is not None
    url = process.stdout.readline().decode().strip()
    for _ in range(2):
        result = run(
            "verify",
            "--live",
            "--endpoint-url",
            url,
            "--only",
            "converse",
            "--model",
            "us.amazon.nova-2-lite-v1:0",
            env=CREDENTIALS,
        )
        assert result.exit_code == 0, result.stdout
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate()
    assert (process.returncode, stdout) == (130, b"")
    assert stderr.decode().splitlines()[0] == f"Serving the 1 exchange of {path} in us-east-1. Ctrl-C stops."


@pytest.mark.parametrize(
    ("text", "said"), [("[]", "is not a cassette"), ('{"bedrock_async_cassette": 9}', "of version 9")]
)
def test_what_is_no_cassette_is_not_served(text: str, said: str, tmp_path: Path) -> None:
    """The server says why it does not start, and prints no URL."""
    path = tmp_path / "tape.json"
    path.write_text(text)
    result = run("replay", str(path), "--port", "0")
    assert (result.exit_code, result.stdout) == (1, "")
    assert said in " ".join(result.stderr.split())
