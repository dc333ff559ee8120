"""The fixture ``bedrock_cassette``, used by test suites of their own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from commandline import serving

from bedrock_async.testing import BedrockEmulator, ScriptedModel, read_cassette
from bedrock_async.testing.pytest_plugin import cassette_path

pytest_plugins = ["pytester"]

SUITE: Final = """
import pytest
from bedrock_async import NO_RETRY, BedrockClient, Credentials

async def ask(cassette, question="Hi"):
    credentials = cassette.credentials or Credentials("AKIDEXAMPLE", "secret")
    async with BedrockClient(
        region="us-east-1", endpoint_url={url!r}, transport=cassette, credentials=credentials, retry=NO_RETRY
    ) as client:
        return (await client.converse("us.amazon.nova-lite-v1:0", question)).text

async def test_plain(bedrock_cassette):
    assert await ask(bedrock_cassette) == "recorded"
"""
FAILING: Final = """
async def test_failing(bedrock_cassette):
    await ask(bedrock_cassette)
    raise ZeroDivisionError
"""
CONFTEST: Final = 'pytest_plugins = ["bedrock_async.testing.pytest_plugin"]\n'


class Suite:
    """A test suite in a folder of its own, and the service that it records from."""

    def __init__(self, pytester: pytest.Pytester, emulator: BedrockEmulator) -> None:
        self._pytester = pytester
        self.emulator = emulator
        pytester.makeini("[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\n")
        pytester.makeconftest(CONFTEST)
        self.write(SUITE)

    def write(self, source: str, conftest: str = "") -> None:
        """Write the tests, with the service's address put in."""
        self._pytester.makepyfile(test_it=source.replace("{url!r}", repr(self.emulator.url)))
        self._pytester.makeconftest(CONFTEST + conftest)

    def run(self, *arguments: str) -> pytest.RunResult:
        """Run the suite in a process of its own, as its users do."""
        return self._pytester.runpytest_subprocess("-p", "no:cacheprovider", *arguments)

    @property
    def cassettes(self) -> list[str]:
        """The names of the files that the suite has, below its folder."""
        folder = self._pytester.path
        return sorted(str(path.relative_to(folder)) for path in folder.rglob("cassettes/**/*") if path.is_file())


@pytest.fixture
def suite(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Iterator[Suite]:
    """A suite whose service is an emulator in another thread."""
    monkeypatch.delenv("CI", raising=False)
    with serving(ScriptedModel.text("recorded")) as (emulator, _):
        yield Suite(pytester, emulator)


def test_record_once_and_replay_ever_after(suite: Suite) -> None:
    """With ``all`` the test calls the service and leaves a file beside it; without, the file answers."""
    suite.run("--bedrock-record=all").assert_outcomes(passed=1)
    assert suite.cassettes == ["cassettes/test_it/test_plain.json"]
    assert len(suite.emulator.requests) == 1
    suite.run().assert_outcomes(passed=1)
    assert len(suite.emulator.requests) == 1


def test_nothing_is_sent_without_the_option(suite: Suite) -> None:
    """A test whose cassette does not exist fails, names the file and the option, and leaves nothing behind."""
    result = suite.run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*test_plain.json, which does not exist, has no exchanges*--bedrock-record=all*"])
    assert suite.cassettes == []
    assert not suite.emulator.requests


def test_auto_records_what_is_missing(suite: Suite) -> None:
    """With ``auto`` a new question is asked of the service, an old one is answered from the file."""
    suite.run("--bedrock-record=auto").assert_outcomes(passed=1)
    suite.write(SUITE + '    assert await ask(bedrock_cassette, "New") == "recorded"\n')
    suite.run("--bedrock-record=auto").assert_outcomes(passed=1)
    assert [b"New" in each.body for each in suite.emulator.requests] == [False, True]


def test_auto_sends_nothing_in_ci(suite: Suite, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where CI is set, ``auto`` replays only."""
    monkeypatch.setenv("CI", "true")
    suite.run("--bedrock-record=auto").assert_outcomes(failed=1)
    assert not suite.emulator.requests


def test_a_failing_test_leaves_its_recording(suite: Suite) -> None:
    """What had been recorded when a test failed is in the file."""
    suite.write(SUITE + FAILING)
    suite.run("--bedrock-record=all", "-k", "failing").assert_outcomes(failed=1, deselected=1)
    assert suite.cassettes == ["cassettes/test_it/test_failing.json"]


def test_a_project_sets_options_for_its_cassettes(suite: Suite, pytester: pytest.Pytester) -> None:
    """The fixture ``bedrock_cassette_options`` is overridden as any fixture is."""
    conftest = """
import pytest

@pytest.fixture
def bedrock_cassette_options():
    return {"redact_prompts": True}
"""
    suite.write(SUITE, conftest)
    suite.run("--bedrock-record=all").assert_outcomes(passed=1)
    file = read_cassette(pytester.path / suite.cassettes[0])
    assert file.prompts_redacted
    assert b"recorded" not in (pytester.path / suite.cassettes[0]).read_bytes()


def test_every_test_has_a_file_of_its_own(suite: Suite) -> None:
    """Classes and parameters are part of the name, made fit for file systems without becoming equal."""
    source = """
class TestGroup:
    @pytest.mark.parametrize("question", ["a/b", "a:b", "plain"])
    async def test_one(self, bedrock_cassette, question):
        await ask(bedrock_cassette, question)
"""
    suite.write(SUITE + source)
    suite.run("--bedrock-record=all").assert_outcomes(passed=4)
    assert len(suite.cassettes) == 4


def test_an_unknown_choice_is_refused(suite: Suite) -> None:
    """The option takes none, auto and all."""
    result = suite.run("--bedrock-record=sometimes")
    assert result.ret == pytest.ExitCode.USAGE_ERROR


def test_the_plugin_is_opt_in(pytester: pytest.Pytester) -> None:
    """pytest knows nothing of it until a conftest names it: it costs no project its start-up time."""
    result = pytester.runpytest_inprocess("--bedrock-record=all")
    assert result.ret == pytest.ExitCode.USAGE_ERROR


@pytest.mark.parametrize(
    ("node_id", "name"),
    [
        ("test_a.py::test_x", "test_x.json"),
        ("deep/test_a.py::TestA::test_x", "TestA.test_x.json"),
        ("test_a.py::test_x[a-b_1.5]", "test_x-a-b_1.5--*.json"),
        ("test_a.py::test_x[../../etc/passwd]", "test_x-..-..-etc-passwd--*.json"),
        ("test_a.py::test_x[" + "y" * 500 + "]", "test_x-" + "y" * 93 + "-*.json"),
    ],
)
def test_names_of_files(node_id: str, name: str) -> None:
    """A name is the test's own where file systems bear it, else cut and told apart by a digest."""
    path = cassette_path(Path("/tests/test_a.py"), node_id)
    assert path.parent == Path("/tests/cassettes/test_a")
    assert path.match(name)
    assert len(path.name) < 130
