"""boto3, in a worker thread, and aiobotocore behind one interface: what the emulator is measured by."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Final, Protocol, TypeAlias

import anyio
from botocore.config import Config
from botocore.loaders import Loader
from botocore.session import get_session

KEY_ID: Final = "AKIDEXAMPLE"
SECRET: Final = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"

JSONObject: TypeAlias = dict[str, Any]


class OfficialClient(Protocol):
    """An official client of Bedrock Runtime."""

    async def call(self, operation: str, **parameters: object) -> JSONObject:
        """Return what the client's method returns; a streaming body is read into bytes."""
        ...

    def events(self, operation: str, **parameters: object) -> AsyncIterator[JSONObject]:
        """Yield the parsed events of a streaming operation, each as soon as it is there."""
        ...


class Connect(Protocol):
    """Opens a client of the emulator at ``url``; ``options`` are those of both libraries' ``client``."""

    def __call__(
        self, url: str, *, service: str = "bedrock-runtime", **options: object
    ) -> AbstractAsyncContextManager[OfficialClient]: ...


def _options(url: str, options: dict[str, object]) -> JSONObject:
    # One attempt: a retry would hide the error that a test is about.
    config = Config(retries={"max_attempts": 0}, connect_timeout=10, read_timeout=30, max_pool_connections=64)
    keys = {"aws_access_key_id": KEY_ID, "aws_secret_access_key": SECRET}
    return {"endpoint_url": url, "region_name": "us-east-1", "config": config, **keys, **options}


# Reading the service models and endpoints takes most of a client's making, and they never change.
_LOADER: Final = Loader()


def _with_loader(session: Any) -> Any:  # noqa: ANN401 - a session of either library
    session.register_component("data_loader", _LOADER)
    return session


def _stream(response: JSONObject) -> Any:  # noqa: ANN401 - EventStream of either library
    return response["stream"] if "stream" in response else response["body"]


class _Boto3:
    def __init__(self, client: Any) -> None:  # noqa: ANN401 - boto3 makes its classes at run time
        self._client = client

    async def call(self, operation: str, **parameters: object) -> JSONObject:
        def run() -> JSONObject:
            response: JSONObject = getattr(self._client, operation)(**parameters)
            if "body" in response:
                response["body"] = response["body"].read()
            return response

        return await anyio.to_thread.run_sync(run)

    async def events(self, operation: str, **parameters: object) -> AsyncIterator[JSONObject]:
        response = await anyio.to_thread.run_sync(partial(getattr(self._client, operation), **parameters))
        stream = _stream(response)
        iterator = iter(stream)
        try:
            while (event := await anyio.to_thread.run_sync(next, iterator, None)) is not None:
                yield event
        finally:
            stream.close()


class _Aiobotocore:
    def __init__(self, client: Any) -> None:  # noqa: ANN401 - aiobotocore makes its classes at run time
        self._client = client

    async def call(self, operation: str, **parameters: object) -> JSONObject:
        response: JSONObject = await getattr(self._client, operation)(**parameters)
        if "body" in response:
            async with response["body"] as body:
                response["body"] = await body.read()
        return response

    async def events(self, operation: str, **parameters: object) -> AsyncIterator[JSONObject]:
        response = await getattr(self._client, operation)(**parameters)
        stream = _stream(response)
        try:
            async for event in stream:
                yield event
        finally:
            stream.close()


@asynccontextmanager
async def connect_boto3(
    url: str, *, service: str = "bedrock-runtime", **options: object
) -> AsyncGenerator[OfficialClient]:
    """Open a boto3 client; its calls run in worker threads."""
    boto3: Any = import_module("boto3")  # it has no types
    session = boto3.session.Session(botocore_session=_with_loader(get_session()))
    make = partial(session.client, service, **_options(url, options))
    client: Any = await anyio.to_thread.run_sync(make)
    try:
        yield _Boto3(client)
    finally:
        client.close()


@asynccontextmanager
async def connect_aiobotocore(
    url: str, *, service: str = "bedrock-runtime", **options: object
) -> AsyncGenerator[OfficialClient]:
    """Open an aiobotocore client."""
    module: Any = import_module("aiobotocore.session")  # its stubs have no bedrock-runtime
    config: Any = import_module("aiobotocore.config")
    keywords = _options(url, options)
    keywords["config"] = config.AioConfig().merge(keywords["config"])
    async with _with_loader(module.get_session()).create_client(service, **keywords) as client:
        yield _Aiobotocore(client)


_CLIENTS: Final[Mapping[str, Connect]] = {"boto3": connect_boto3, "aiobotocore": connect_aiobotocore}

# No release of aiobotocore can be installed beside the newest boto3; that environment is tested with boto3 alone.
OFFICIAL_CLIENTS: Final = {name: connect for name, connect in _CLIENTS.items() if find_spec(name)}
"""The clients that are installed, by name."""
