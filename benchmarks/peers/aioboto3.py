"""aioboto3, with a pool that is large enough."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from importlib import import_module
from typing import Any

from ..contract import CONNECTIONS, KEYS, REGION, Client, Peer
from .aiobotocore import Aiobotocore


def load() -> None:
    """Import what an application imports."""
    import_module("aioboto3")
    import_module("aiobotocore.config")


@asynccontextmanager
async def opened(url: str) -> AsyncGenerator[Client]:
    """Make a client."""
    session: Any = import_module("aioboto3").Session()
    config = import_module("aiobotocore.config").AioConfig(max_pool_connections=CONNECTIONS)
    async with session.client(
        "bedrock-runtime",
        region_name=REGION,
        endpoint_url=url,
        aws_access_key_id=KEYS[0],
        aws_secret_access_key=KEYS[1],
        config=config,
    ) as client:
        yield Aiobotocore(client)


PEER = Peer(
    title="aioboto3",
    requirements=("aioboto3",),
    packages=("aioboto3", "aiobotocore", "botocore", "aiohttp"),
    load=load,
    opened=opened,
    not_offered={"decode": "the decoder is botocore's"},
)
