"""
Run all tests. Those with real parts mostly wait, so those that need none run beside them; their report comes at the end.

No shell's `&`: what it starts ignores Ctrl-C, and so would every program under test.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile

WAITING = ("tests/faults", "tests/integration")
BESIDE = ("tests/unit", "tests/operations", "tests/commands")


def main() -> int:
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as report:
        beside = subprocess.Popen(_pytest(*BESIDE), stdout=report, stderr=subprocess.STDOUT)  # noqa: S603 - our own tests
        try:
            code = subprocess.run(_pytest(*WAITING), check=False).returncode  # noqa: S603 - the same
            code = beside.wait() or code
        finally:
            beside.kill()
        report.seek(0)
        print(report.read())
    return code


def _pytest(*directories: str) -> list[str]:
    return [sys.executable, "-m", "pytest", *directories]


if __name__ == "__main__":
    sys.exit(main())
