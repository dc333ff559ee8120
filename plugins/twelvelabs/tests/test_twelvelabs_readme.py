"""The examples of the README run unchanged."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from readme_examples import run_blocks
from s3_server import CREDENTIALS, s3_server

from bedrock_async.testing import BedrockEmulator, JobScript, S3ObjectStore, ScriptedModel
from bedrock_async.types import JSONValue

README: Final = Path(__file__).parent.parent / "README.md"
PEGASUS: Final = "twelvelabs.pegasus-1-2-v1:0"


class Marengo(ScriptedModel):
    """Embeds at once, and through jobs."""

    def __init__(self) -> None:
        super().__init__((), native=[{"data": [{"embedding": [0.1, 0.2]}]}])

    def job(self, model_input: Mapping[str, JSONValue]) -> JobScript:
        """Return the job of any input: one clip."""
        place: dict[str, JSONValue] = {"embeddingScope": "clip", "startSec": 0, "endSec": 4.2}
        return JobScript.json({"data": [{"embedding": [0.3, 0.4], "embeddingOption": "visual", **place}]}, polls=0)


async def test_the_readmes_examples_run() -> None:
    """Against answers in the form that the user guide documents, and an S3 that is code of others."""
    pegasus = ScriptedModel((), native=[{"message": "A walk in a park.", "finishReason": "stop"}], model_ids=[PEGASUS])
    with s3_server() as s3:
        s3.bucket(name="made-here")
        async with (
            S3ObjectStore(s3.url, credentials=CREDENTIALS) as store,
            BedrockEmulator([pegasus, Marengo()], object_store=store) as emulator,
        ):
            printed = await run_blocks(README, emulator.url, AWS_ENDPOINT_URL_S3=s3.url)
    assert printed == ["A walk in a park. end_turn\n", "0 to 4.2 s: visual, 2 of 2\n"]
