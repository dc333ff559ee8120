"""``python -m bedrock_async`` is the command ``bedrock-async``."""

from __future__ import annotations

from .cli import main

if __name__ == "__main__":
    main()
