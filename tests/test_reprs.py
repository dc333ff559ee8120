"""What a log line shows of the objects that users hold: what each is and where it leads, and no secret."""

from __future__ import annotations

from pathlib import Path

import pytest

from bedrock_async import BedrockClient, Credentials, ModelPrices, Prices, RateLimit, RateLimiter, tool
from bedrock_async.testing import BedrockEmulator, Cassette, ScriptedModel

MODEL = "amazon.nova-lite-v1:0"
SECRET = "not-to-be-shown"


async def test_a_client_tells_where_it_leads_and_whether_it_is_closed() -> None:
    """Region, endpoint, where the credentials come from; the key itself is not shown."""
    client = BedrockClient(region="us-east-1", credentials=Credentials("AKIDEXAMPLE", SECRET))
    assert repr(client) == (
        "BedrockClient('us-east-1', 'https://bedrock-runtime.us-east-1.amazonaws.com', 'credentials argument')"
    )
    await client.aclose()
    assert repr(client).endswith(", closed)")
    assert SECRET not in repr(client)


async def test_an_api_key_is_not_shown() -> None:
    """Only where it comes from."""
    assert SECRET not in repr(BedrockClient(region="us-east-1", api_key=SECRET))


async def test_an_emulator_tells_its_url_while_it_runs() -> None:
    """And the ids that it answers to."""
    emulator = BedrockEmulator([ScriptedModel.text(model_ids=[MODEL])])
    stopped = f"BedrockEmulator(not running, model_ids=[{MODEL!r}])"
    assert repr(emulator) == stopped
    async with emulator:
        assert repr(emulator) == f"BedrockEmulator({emulator.url!r}, model_ids=[{MODEL!r}])"
    assert repr(emulator) == stopped


@pytest.mark.parametrize(
    ("cassette", "shown"),
    [
        (Cassette(mode="record"), "Cassette(in memory, mode='record')"),
        (Cassette(Path("a.json"), mode="replay"), "Cassette('a.json', mode='replay')"),
    ],
)
def test_a_cassette_tells_its_file_and_what_it_does(cassette: Cassette, shown: str) -> None:
    """Without reading the file."""
    assert repr(cassette) == shown


def test_limits_and_prices_tell_what_they_are_for() -> None:
    """The patterns of the models, and who waits."""
    limit = RateLimit(max_in_flight=2)
    assert repr(RateLimiter({"*claude*": limit})) == f"RateLimiter({{'*claude*': {limit!r}}}, 0 waiting)"
    assert (
        repr(Prices({MODEL: ModelPrices(input=1, output=2)}, published=False))
        == f"Prices([{MODEL!r}], published=False)"
    )


async def test_a_loop_of_tools_tells_how_far_it_is() -> None:
    """Rounds and messages, and whether there is more to come."""

    @tool
    def weather(city: str) -> str:
        """Tell the weather."""
        return city

    async with BedrockEmulator([ScriptedModel.text("Fine.")]) as emulator:
        keys = Credentials("AKIDEXAMPLE", "secret")
        async with BedrockClient(endpoint_url=emulator.url, credentials=keys) as client:
            loop = client.run_tools(MODEL, "What is the weather?", tools=[weather])
            assert repr(loop) == "ToolLoop(0 rounds, 0 messages)"
            await loop.result()
            assert repr(loop) == "ToolLoop(1 rounds, 1 messages, done)"
