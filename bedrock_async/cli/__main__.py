"""``python -m bedrock_async.cli`` is the ``bedrock-async`` command."""

from __future__ import annotations

from . import main

if __name__ == "__main__":
    main()
