"""What an event of a conversation costs the client: ``python -m benchmarks.duplex``.

An audio event of 32 ms goes to the emulator, in a process of its own, and comes back: framed, signed and over HTTP/2,
in cleartext and over TLS; one at a time (``paced``), and as fast as both sides can (``full``). With ``--smithy PYTHON``
the official SDK (aws-sdk-bedrock-runtime[awscrt]) does the same in that Python, over TLS, which it cannot do without.
Figures are CPU time of the client's process, all threads, for an event sent and its echo received.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import ssl
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, TypeAlias

from .contract import KEYS, REGION
from .machine import pin

MODEL: Final = "amazon.nova-sonic-v1:0"
EVENT: Final = json.dumps(
    {
        "event": {
            "audioInput": {"promptName": "p", "contentName": "c", "content": base64.b64encode(bytes(1024)).decode()}
        }
    }
).encode()
ROUNDS: Final = 3
EVENTS: Final = 3000
WARM_UP: Final = 100

Send: TypeAlias = Callable[[bytes], Awaitable[None]]
Receive: TypeAlias = Callable[[], Awaitable[bytes]]


@asynccontextmanager
async def ours(url: str, authority: str) -> AsyncGenerator[tuple[Send, Receive]]:
    """Open a conversation with this package."""
    package: Any = import_module("bedrock_async")
    async with (
        package.BedrockClient(
            region=REGION,
            endpoint_url=url,
            credentials=package.Credentials(*KEYS),
            connection=package.ConnectionOptions(ca_bundle=authority),
        ) as client,
        client.invoke_bidirectional(MODEL) as duplex,
    ):

        async def receive() -> bytes:
            data: bytes = (await duplex.__anext__()).bytes
            return data

        yield duplex.send, receive


@asynccontextmanager
async def smithy(url: str, authority: str) -> AsyncGenerator[tuple[Send, Receive]]:
    """Open a conversation with the official SDK."""
    models: Any = import_module("aws_sdk_bedrock_runtime.models")
    io: Any = import_module("awscrt.io")
    transport = import_module("smithy_http.aio.crt").AWSCRTHTTPClient()
    options = io.TlsContextOptions()
    options.override_default_trust_store_from_path(None, authority)
    transport._tls_ctx = io.ClientTlsContext(options)  # noqa: SLF001 - it has no option for that
    config = await import_module("aws_sdk_bedrock_runtime.config").AsyncBedrockRuntimeConfig.resolve(
        endpoint_uri=url,
        region=REGION,
        aws_access_key_id=KEYS[0],
        aws_secret_access_key=KEYS[1],
        transport=transport,
    )
    client = import_module("aws_sdk_bedrock_runtime.client").AsyncBedrockRuntimeClient(config)
    operation = models.InvokeModelWithBidirectionalStreamOperationInput(model_id=MODEL)
    stream = await client.invoke_model_with_bidirectional_stream(operation)

    async def send(event: bytes) -> None:
        part = models.BidirectionalInputPayloadPart(bytes_=event)
        await stream.input_stream.send(models.InvokeModelWithBidirectionalStreamInputChunk(value=part))

    output: Any = None

    async def receive() -> bytes:
        nonlocal output
        if output is None:
            _, output = await stream.await_output()
        data: bytes = (await output.receive()).value.bytes_
        return data

    yield send, receive
    await stream.close()
    await transport.close()


async def paced(send: Send, receive: Receive, events: int) -> None:
    """Wait for each event before the next one is sent."""
    for _ in range(events):
        await send(EVENT)
        assert await receive() == EVENT


async def full(send: Send, receive: Receive, events: int) -> None:
    """Send and receive at the same time."""

    async def sending() -> None:
        for _ in range(events):
            await send(EVENT)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(sending())
        for _ in range(events):
            assert await receive() == EVENT


async def measured(client: str, mode: str, url: str, authority: str, events: int) -> float:
    """Return microseconds of CPU for each event."""
    drive = paced if mode == "paced" else full
    async with (ours if client == "ours" else smithy)(url, authority) as (send, receive):
        await drive(send, receive, WARM_UP)
        started = time.process_time()
        await drive(send, receive, events)
        return (time.process_time() - started) / events * 1e6


async def serve(folder: Path) -> None:
    """Serve the echo, in cleartext and over TLS; print both URLs."""
    testing: Any = import_module("bedrock_async.testing")
    authority: Any = import_module("trustme").CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost", "127.0.0.1").configure_cert(context)
    async with testing.BedrockEmulator() as plain, testing.BedrockEmulator(ssl_context=context) as secure:
        print(plain.url, secure.url.replace("127.0.0.1", "localhost"), flush=True)
        await asyncio.get_running_loop().create_future()


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.duplex", description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--events", type=int, default=EVENTS)
    parser.add_argument("--smithy", metavar="PYTHON", help="a Python with aws-sdk-bedrock-runtime[awscrt]")
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--measure", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        pin("server")
        asyncio.run(serve(options.serve))
    elif options.measure:
        pin("client")
        client, mode, url, authority = options.measure
        print(asyncio.run(measured(client, mode, url, authority, options.events)))
    else:
        _table(options)


def _table(options: argparse.Namespace) -> None:
    command = ["-m", "benchmarks.duplex"]
    with TemporaryDirectory() as folder:
        server = subprocess.Popen([sys.executable, *command, "--serve", folder], stdout=subprocess.PIPE, text=True)
        try:
            assert server.stdout is not None
            plain, secure = server.stdout.readline().split()
            cells = [("ours", sys.executable, plain), ("ours", sys.executable, secure)]
            if options.smithy:
                cells.append(("smithy", options.smithy, secure))
            print(f"{'':20}{'paced':>24}{'full':>24}   us of CPU per event, median (range) of {options.rounds}")
            for client, python, url in cells:
                line = f"{client + (', TLS' if url == secure else ', cleartext'):20}"
                for mode in ("paced", "full"):
                    arguments = ["--events", str(options.events), "--measure", client, mode, url, f"{folder}/ca.pem"]
                    figures = [
                        float(subprocess.run([python, *command, *arguments], check=True, capture_output=True).stdout)
                        for _ in range(options.rounds)
                    ]
                    line += f"{statistics.median(figures):>10.0f} ({min(figures):.0f}-{max(figures):.0f})".rjust(24)
                print(line, flush=True)
        finally:
            server.terminate()
            server.wait()


if __name__ == "__main__":
    main()
