"""Terminal output besides a model's answer: errors, notes and tables.

The answer itself is written to stdout without rich, which would interpret it as markup.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from typing import Final, TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..errors import BedrockError

__all__ = ["show_error", "show_note", "show_table", "styled", "terminal_safe"]

# The control characters except tab and line feed: text from models and servers must not control the terminal.
_CONTROLS: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def terminal_safe(text: str) -> str:
    """Return ``text`` with control characters replaced by visible symbols."""
    return _CONTROLS.sub(_visible, text)


def _visible(found: re.Match[str]) -> str:
    code = ord(found[0])
    # Unicode has symbols for the first 32 and for DEL, but none for the C1 controls.
    return chr(0x2400 + code) if code < 0x20 else "\u2421" if code == 0x7F else "\ufffd"


def styled(file: TextIO) -> Console:
    """Return a console that colours only on terminals, and does not process markup, emoji codes or long lines."""
    return Console(file=file, markup=False, emoji=False, highlight=False, soft_wrap=True)


def show_table(header: Sequence[str], rows: Sequence[Sequence[str]], styles: Mapping[str, str]) -> None:
    """Write rows to stdout: as a table on a terminal, the last column styled by its value, otherwise in columns."""
    console = styled(sys.stdout)
    if console.is_terminal:
        table = Table(*header, box=None, pad_edge=False, header_style="bold")
        for row in rows:
            *cells, state = map(terminal_safe, row)
            table.add_row(*map(Text, cells), Text(state, style=styles.get(state, "")))
        console.print(table)
        return
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    for row in (header, *rows):
        sys.stdout.write("  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())
        sys.stdout.write("\n")


def show_error(error: BedrockError) -> None:
    """Write an error and its hint to stderr."""
    console = styled(sys.stderr)
    hint = error.hint or ""
    said = str(error).removesuffix(hint).rstrip() if hint else str(error)
    console.print(Text.assemble(("error: ", "bold red"), terminal_safe(said)))
    if hint:
        console.print(Text.assemble(("hint: ", "bold"), terminal_safe(hint)))


def show_note(text: str) -> None:
    """Write a progress note to stderr, but only if it is a terminal."""
    if sys.stderr.isatty():
        styled(sys.stderr).print(Text(terminal_safe(text), style="dim"))
