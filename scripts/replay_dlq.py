"""
Replay the dead letters: the same as `k2 dlq replay`.

    uv run python scripts/replay_dlq.py                      what would be published, and what would fail again
    uv run python scripts/replay_dlq.py --publish            do it
    uv run python scripts/replay_dlq.py --help               filters, rate, and where Kafka and the registry are
"""

from __future__ import annotations

import sys

from k2.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["dlq", "replay", *sys.argv[1:]]))
