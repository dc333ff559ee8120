"""`bedrock-async serve`: the emulator as a process of its own."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest
from commandline import CREDENTIALS, MODEL, install, run, spawn

from bedrock_async import BedrockClient, Credentials, StandardRetry, ThrottlingError

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT for a single process")

BOTO3 = """
import boto3, sys
client = boto3.client("bedrock-runtime", endpoint_url=sys.argv[1], region_name="us-east-1")
messages = [{"role": "user", "content": [{"text": "Hi"}]}]
answer = client.converse(modelId="us.amazon.nova-lite-v1:0", messages=messages)
print(answer["output"]["message"]["content"][0]["text"])
for event in client.converse_stream(modelId="us.amazon.nova-lite-v1:0", messages=messages)["stream"]:
    if "contentBlockDelta" in event:
        print(event["contentBlockDelta"]["delta"]["text"])
"""


@contextmanager
def server(*arguments: str) -> Generator[tuple[str, subprocess.Popen[bytes]]]:
    """Start `serve` on a free port; yield its URL and the process."""
    process = spawn("serve", "--port", "0", *arguments)
    try:
        assert process.stdout is not None
        yield process.stdout.readline().decode().strip(), process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def test_boto3_is_answered_and_ctrl_c_stops_it() -> None:
    """AWS's own SDK, in another process, gets whole and streamed answers; Ctrl-C ends the server with 130."""
    with server("--text", "hello world") as (url, process):
        environ = {**os.environ, **CREDENTIALS}
        command = [sys.executable, "-c", BOTO3, url]
        done = subprocess.run(command, env=environ, check=True, capture_output=True, text=True)
        assert done.stdout == "hello world\nhello\n world\n"
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate()
    assert process.returncode == 130
    assert stdout == b""
    assert stderr.decode().splitlines() == [
        "Serving scripted in us-east-1. Ctrl-C stops.",
        f"Clients find it with  AWS_ENDPOINT_URL_BEDROCK_RUNTIME={url}  and any credentials.",
    ]


async def test_embeddings_are_served_beside_another_model() -> None:
    """Vectors without a model, in the native form of the id that is asked for; everything else is the other's."""
    with server("--model", "embeddings", "--model", "scripted") as (url, _):
        async with BedrockClient(region="us-east-1", endpoint_url=url, credentials=Credentials("a", "b")) as client:
            answer = (await client.invoke("cohere.embed-english-v3", {"texts": ["Hi"], "input_type": "x"})).json()
            reply = await client.converse(MODEL, "Hi")
    assert isinstance(answer, dict)
    assert answer["response_type"] == "embeddings_floats"
    assert reply.text == "Hello from the Bedrock emulator."


async def test_conversations_are_served() -> None:
    """The same URL takes conversations over HTTP/2, with nothing more to be said on the command line."""
    with server() as (url, _):
        async with (
            BedrockClient(region="us-east-1", endpoint_url=url, credentials=Credentials("a", "b")) as client,
            client.invoke_bidirectional("amazon.nova-sonic-v1:0") as duplex,
        ):
            await duplex.send({"event": {}})
            assert (await anext(duplex)).json() == {"event": {}}


async def test_recordings_are_replayed_and_sigterm_stops_it(tmp_path: Path) -> None:
    """`--replay` answers with what was recorded; a container's SIGTERM ends it as cleanly, with 143."""
    body = {"output": {"message": {"role": "assistant", "content": [{"text": "recorded"}]}}, "stopReason": "end_turn"}
    record = {
        "id": "one",
        "kind": "converse",
        "method": "POST",
        "path": f"/model/{MODEL}/converse",
        "request_body": '{"messages": [{"role": "user", "content": [{"text": "Hi"}]}]}',
        "status": 200,
        "response_headers": {"content-type": "application/json"},
        "response_body_b64": base64.b64encode(json.dumps(body).encode()).decode(),
    }
    (tmp_path / "one.json").write_text(json.dumps(record))
    with server("--replay", str(tmp_path)) as (url, process):
        credentials = Credentials("AKIDEXAMPLE", "secret")
        async with BedrockClient(endpoint_url=url, region="us-east-1", credentials=credentials) as client:
            assert (await client.converse(MODEL, "Hi")).text == "recorded"
        process.send_signal(signal.SIGTERM)
        await asyncio.to_thread(process.communicate)
    assert process.returncode == 143


async def test_faults_are_served() -> None:
    """`--chaos` lets a share of the requests meet a fault, of the kinds that `--fault` names."""
    with server("--chaos", "1", "--fault", "throttled") as (url, _):
        credentials = Credentials("AKIDEXAMPLE", "secret")
        once = StandardRetry(max_attempts=1)
        async with BedrockClient(endpoint_url=url, region="us-east-1", credentials=credentials, retry=once) as client:
            with pytest.raises(ThrottlingError):
                await client.converse(MODEL, "Hi")


def test_a_plugins_model_is_served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--model` takes the name under which a distribution registers a model."""
    source = (
        "from bedrock_async.testing import ScriptedModel\n\ndef model():\n    return ScriptedModel.text('plugged in')\n"
    )
    install(
        tmp_path,
        "bedrock-async-example",
        modules={"example_model": source},
        entry_points={"bedrock_async.emulator_models": ["example = example_model:model"]},
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with server("--model", "example") as (url, _):
        result = run("ask", "--model", MODEL, "--endpoint-url", url, "Hi", env=CREDENTIALS)
        assert result.stdout == "plugged in\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--model", "nonsense"), "no emulator model 'nonsense'"),
        (("--host", "0.0.0.0"), "not a loopback address"),  # noqa: S104 - it is refused
        (("--replay", "."), "no recording"),
    ],
)
def test_what_cannot_be_served_is_status_1(
    arguments: tuple[str, ...], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server says why it does not start, and prints no URL."""
    monkeypatch.chdir(tmp_path)
    result = run("serve", "--port", "0", *arguments)
    assert (result.exit_code, result.stdout) == (1, "")
    assert said in result.stderr
