"""llama.cpp's server inside this process: starting one, calling its loopback port, and its errors as the service's.

Its Python package ships no types; the protocols here describe what is used of it.
"""

from __future__ import annotations

import http.client
import importlib
import json
import os
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, Protocol, TypeAlias, cast
from urllib.parse import urlsplit

from bedrock_async.errors import ServiceError, service_error
from bedrock_async.types import JSONValue

from .errors import EngineError

__all__ = [
    "ChatServer",
    "EmbeddingServer",
    "Members",
    "Port",
    "Server",
    "closed",
    "default_threads",
    "refusal",
    "start_server",
]

Members: TypeAlias = dict[str, Any]
"""JSON from the server."""

_HTTP_S: Final = 30.0


class ChatServer(Protocol):
    """The part of ``xllamacpp.Server`` that generates. It blocks, and may be called from several threads."""

    @property
    def listening_address(self) -> str:
        """The URL of its loopback port."""
        ...

    def handle_chat_completions(self, prompt: dict[str, JSONValue], callback: Callable[[Members], bool]) -> None:
        """Generate, with a call of ``callback`` for every chunk; True stops it."""
        ...


class EmbeddingServer(Protocol):
    """The part of ``xllamacpp.Server`` that reads. It blocks, and may be called from several threads."""

    def handle_embeddings(self, prompt: dict[str, JSONValue]) -> Members:
        """Return the vectors of texts, or of lists of tokens; or an ``error``."""
        ...


class Server(ChatServer, EmbeddingServer, Protocol):
    """The part of ``xllamacpp.Server`` that is used."""


def default_threads() -> int:
    """Return the number of processors that this process may use, less one, but at least one.

    With one busy neighbour on two processors, two threads fell from 135 to 40 tokens/s.
    """
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, available - 1)


def start_server(
    path: Path, *, threads: int | None, context_tokens: int, adjust: Callable[[Any, Any], None]
) -> tuple[Server, str]:
    """Load the GGUF file at ``path``; return the server and the key of its port. Raises EngineError.

    ``adjust`` sets what is particular to one use, on the parameters and with the package. Takes about a second.
    """
    api_key = secrets.token_urlsafe(32)
    try:
        # Any: the package ships no types.
        xllamacpp: Any = importlib.import_module("xllamacpp")
    except ImportError as exc:
        raise EngineError(
            f"the inference engine xllamacpp cannot be imported: {exc}.",
            hint="Install a wheel of it for this platform: pip install --only-binary :all: xllamacpp.",
        ) from exc
    params = xllamacpp.CommonParams()
    params.model.path = str(path)
    # The chat endpoints name the model in every chunk: by this, not by its path on the disk.
    params.model_alias = {"local"}
    params.n_ctx = context_tokens
    params.kv_unified = True  # else every slot gets only its share of the context
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads or default_threads()
    params.fit_params = False  # no silent change of the context size
    params.cache_ram_mib = 0  # its cache of old prompts may take 8 GiB by default
    params.verbosity = -1
    # The engine also listens on loopback, where every process of the machine could use it without a key.
    params.api_keys = [api_key]
    params.hostnames = ["127.0.0.1"]
    params.n_threads_http = 2
    params.ui = False
    adjust(params, xllamacpp)
    try:
        server: Server = xllamacpp.Server(params)
    except RuntimeError as exc:
        raise EngineError(
            f"the engine cannot load {path} with a context of {context_tokens} tokens.",
            hint="Check that it is a complete GGUF chat model that this version of xllamacpp supports, and that "
            "there is memory for it and for its context (context_tokens=...).",
        ) from exc
    return server, api_key


class Port:
    """The loopback port of a server, for what its methods do not offer; it needs the key."""

    def __init__(self, address: str, api_key: str) -> None:
        self.address = address
        self._api_key = api_key

    def call(self, method: str, path: str, body: Mapping[str, object] | None = None) -> object:
        """Return the JSON of its answer. Blocks. Raises ServiceError."""
        headers = {"Authorization": f"Bearer {self._api_key}", "Content-Type": "application/json"}
        address = urlsplit(self.address)
        connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=_HTTP_S)
        try:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            members: object = json.loads(answer.read())
        except (OSError, http.client.HTTPException, ValueError) as exc:
            raise service_error(
                "InternalServerException", f"the local engine did not answer {path} ({type(exc).__name__})"
            ) from exc
        finally:
            connection.close()
        if answer.status != 200:
            raise refusal(cast("Members", members))
        return members

    def tokens(self, text: str) -> list[int]:
        """Return the tokens of a text; special tokens in it are special, and the model's own are added."""
        question = {"content": text, "add_special": True, "parse_special": True}
        return cast("list[int]", cast("Members", self.call("POST", "/tokenize", question))["tokens"])


def closed() -> ServiceError:
    """Return the error for a call after `aclose`."""
    return service_error("ServiceUnavailableException", "the local model is closed")


def refusal(members: Members) -> ServiceError:
    """Return the service's error for one of the engine's."""
    error: Members = members.get("error") or {}
    kind = str(error.get("type"))
    if kind == "exceed_context_size_error":
        # "Input is too long for requested model" is the service's own sentence.  [corpus, errors.json]
        return service_error(
            "ValidationException",
            f"Input is too long for requested model: it has {error.get('n_prompt_tokens')} tokens, and the context "
            f"window {error.get('n_ctx')}.",
        )
    if error.get("code") == 400:
        return service_error("ValidationException", str(error.get("message")))
    return service_error("ModelErrorException", f"the local engine failed ({kind}, code {error.get('code')})")
