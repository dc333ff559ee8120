"""The progress of a long download, on stderr: a bar on a terminal, a few plain lines elsewhere."""

from __future__ import annotations

import io
import sys
from types import TracebackType
from typing import TYPE_CHECKING, Final, Protocol, Self, TextIO, cast

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

__all__ = ["LineReporter", "Reporter", "RichReporter", "stderr_reporter"]

_PREFIX: Final = "bedrock-async-local"
_STEP_PERCENT: Final = 25


class Reporter(Protocol):
    """Shows the progress of a download. A context manager; all calls come from one thread."""

    def note(self, text: str) -> None:
        """Show one line."""
        ...

    def advance(self, done_bytes: int, total_bytes: int) -> None:
        """Show how much has arrived. Called a few times a second; ``done_bytes`` is an estimate until the end."""
        ...

    def __enter__(self) -> Self:
        """Begin to show."""
        ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the terminal as it was."""
        ...


class LineReporter:
    """Plain lines: every note, and one line for every quarter of the download."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._shown_percent = 0

    def note(self, text: str) -> None:
        """Write the text on a line of its own."""
        self._stream.write(f"{_PREFIX}: {text}\n")
        self._stream.flush()

    def advance(self, done_bytes: int, total_bytes: int) -> None:
        """Write a line when another quarter has arrived."""
        percent = 100 * done_bytes // total_bytes
        if percent >= self._shown_percent + _STEP_PERCENT:
            self._shown_percent = percent - percent % _STEP_PERCENT
            self.note(f"{done_bytes / 1e6:.0f} of {total_bytes / 1e6:.0f} MB ({percent} %)")

    def __enter__(self) -> Self:
        """Return itself; there is nothing to set up."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Do nothing: lines need no clearing up."""


class RichReporter:
    """A bar with size, speed and remaining time, drawn by rich."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task: TaskID | None = None

    def note(self, text: str) -> None:
        """Show the text above the bar."""
        self._progress.console.print(f"{_PREFIX}: {text}", markup=False, highlight=False)

    def advance(self, done_bytes: int, total_bytes: int) -> None:
        """Draw the bar."""
        if self._task is None:
            self._task = self._progress.add_task("weights", total=total_bytes)
        self._progress.update(self._task, completed=done_bytes)

    def __enter__(self) -> Self:
        """Begin to draw."""
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop drawing; the cursor is shown again."""
        self._progress.stop()


def stderr_reporter(stream: TextIO | None = None) -> Reporter:
    """Return a bar for a terminal when rich is installed, else plain lines; on stderr, so that stdout stays data."""
    stream = stream or cast("TextIO | None", sys.stderr)
    if stream is None:  # a program without a console
        return LineReporter(io.StringIO())
    if not stream.isatty():
        return LineReporter(stream)
    try:
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
    except ImportError:
        return LineReporter(stream)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    return RichReporter(Progress(*columns, console=Console(file=stream), transient=True))
