"""What the generators share: which of their files are out of date, and a command line that writes or names them."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path


def stale(texts: Mapping[Path, str]) -> dict[Path, str]:
    """The files whose text on disk is not what it should be, with what it should be."""
    return {file: text for file, text in texts.items() if not file.exists() or file.read_text(encoding="utf-8") != text}


def run(description: str, root: Path, outdated: Callable[[Path], Mapping[Path, str]], argv: Sequence[str] | None) -> int:
    """Write what `outdated` finds below `root`; with `--check` name it instead, and return 1 where there is any."""
    parser = argparse.ArgumentParser(description=description, allow_abbrev=False)
    parser.add_argument("--check", action="store_true", help="write nothing; end with 1 where something is out of date")
    check = parser.parse_args(argv).check
    found = outdated(root)
    for file, text in found.items():
        print(f"{'out of date' if check else 'written'}: {file.relative_to(root)}", file=sys.stderr if check else sys.stdout)
        if not check:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
    return int(check and bool(found))
