"""One conversation of the official SDK (aws-sdk-bedrock-runtime over awscrt), as it stands on the wire.

``python tests/smithy_conversation.py`` records it into ``tests/data/smithy_bidirectional.json``; it needs Python 3.12
and the SDK, as in the environment ``smithy`` of ``make test-matrix``. Everybody else compares with the file.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, TypedDict

import trustme
from h2.events import DataReceived, RequestReceived, StreamEnded
from rawhttp2 import RawHttp2, RawHttp2Server

RECORDED: Final = Path(__file__).parent / "data" / "smithy_bidirectional.json"
MODEL: Final = "amazon.nova-sonic-v1:0"
REGION: Final = "us-east-1"
KEYS: Final = ("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "token")
EVENTS: Final = (
    b'{"event":{"sessionStart":{"inferenceConfiguration":{"maxTokens":1024}}}}',
    '{"event":{"textInput":{"content":"ä € 🎉"}}}'.encode(),
    b"",
    b'{"event":{"audioInput":{"content":"' + b"AAEC" * 2000 + b'"}}}',
)


class Sent(TypedDict):
    """What a client sent: the head, and the bytes of the body."""

    head: list[list[str]]
    body: str


Talk = Callable[[str, str, Sequence[bytes]], Awaitable[list[bytes]]]
"""Sends events to a URL, trusting the authority in a file, and returns what came back."""


async def talk_smithy(url: str, authority: str, events: Sequence[bytes]) -> list[bytes]:
    """Hold a conversation with the official SDK over the transport of its own that can."""
    crt, io = import_module("smithy_http.aio.crt"), import_module("awscrt.io")
    models = import_module("aws_sdk_bedrock_runtime.models")
    transport: Any = crt.AWSCRTHTTPClient()
    options: Any = io.TlsContextOptions()
    options.override_default_trust_store_from_path(None, authority)
    transport._tls_ctx = io.ClientTlsContext(options)
    config = await import_module("aws_sdk_bedrock_runtime.config").AsyncBedrockRuntimeConfig.resolve(
        endpoint_uri=url,
        region=REGION,
        aws_access_key_id=KEYS[0],
        aws_secret_access_key=KEYS[1],
        aws_session_token=KEYS[2],
        transport=transport,
    )
    client: Any = import_module("aws_sdk_bedrock_runtime.client").AsyncBedrockRuntimeClient(config)
    heard: list[bytes] = []
    operation = models.InvokeModelWithBidirectionalStreamOperationInput(model_id=MODEL)
    async with await client.invoke_model_with_bidirectional_stream(operation) as stream:
        for event in events:
            part = models.BidirectionalInputPayloadPart(bytes_=event)
            await stream.input_stream.send(models.InvokeModelWithBidirectionalStreamInputChunk(value=part))
        await stream.input_stream.close()
        _, output = await stream.await_output()
        while (chunk := await output.receive()) is not None:
            heard.append(chunk.value.bytes_)
    await transport.close()
    return heard


async def captured(talk: Talk, server: RawHttp2Server, authority: str, into: list[Sent]) -> Sent:
    """Return what a client sends to a server that keeps all of it, see `keeper`."""
    await talk(server.url, authority, EVENTS)
    return into.pop()


def keeper(into: list[Sent]) -> Callable[[RawHttp2], Awaitable[None]]:
    """Return the script of a server that keeps each request, and then answers with no events."""

    async def script(peer: RawHttp2) -> None:
        request = await peer.next(RequestReceived)
        peer.respond(("content-type", "application/vnd.amazon.eventstream"))
        body = b""
        while True:
            event: DataReceived | StreamEnded = await peer.next(DataReceived, StreamEnded)
            if isinstance(event, StreamEnded):
                break
            peer.h2.acknowledge_received_data(event.flow_controlled_length, 1)
            peer.flush()
            body += event.data
        into.append({"head": [[str(name), str(value)] for name, value in request.headers], "body": body.hex()})
        peer.h2.end_stream(1)
        peer.flush()

    return script


def server_context(authority: trustme.CA) -> ssl.SSLContext:
    """Return the TLS context of a server for localhost that speaks HTTP/2."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)  # pyright: ignore[reportUnknownMemberType] - see transports.py
    context.set_alpn_protocols(["h2"])
    return context


async def capture_smithy() -> Sent:
    """Return what the SDK sends for `EVENTS`, now."""
    authority = trustme.CA()
    kept: list[Sent] = []
    with TemporaryDirectory() as folder:
        path = Path(folder) / "ca.pem"
        authority.cert_pem.write_to_path(path)
        async with RawHttp2Server(keeper(kept), tls=server_context(authority)) as server:
            return await captured(talk_smithy, server, str(path), kept)


def main() -> None:
    """Record."""
    packages = ("aws-sdk-bedrock-runtime", "aws-sdk-signers", "smithy-aws-event-stream", "smithy-http", "awscrt")
    document = {
        "made_by": {name: version(name) for name in packages},
        "licence": "Apache-2.0 (the SDK); the bytes are of our events and example credentials",
        "credentials": KEYS,
        "region": REGION,
        "model_id": MODEL,
        "events": [event.hex() for event in EVENTS],
        "sent": asyncio.run(capture_smithy()),
    }
    RECORDED.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        main()
