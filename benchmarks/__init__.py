"""
Measurements of the product against real parts. Start them with `make bench`.

The real parts come from the tests' kit, which lies outside the package; so its directory joins the path here.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
