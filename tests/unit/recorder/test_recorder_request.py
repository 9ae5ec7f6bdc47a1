"""What `k2 record` takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from k2.errors import ConfigurationError
from k2.recorder.request import Request, make_request


@pytest.mark.parametrize(
    ("values", "request_"),
    [
        pytest.param({"output": "x.gz"}, Request(Path("x.gz")), id="least"),
        pytest.param({"output": "-"}, Request(None), id="stdout"),
        pytest.param(
            {
                "output": "x.gz",
                "streams": ["trade,x@1s", "!x@arr", "trade"],
                "append": True,
                "duration": "1.5",
                "max_size": "2",
            },
            Request(Path("x.gz"), ("trade", "x@1s", "!x@arr"), append=True, duration_s=1.5, most_bytes=2 * 1024 * 1024),
            id="all",
        ),
    ],
)
def test_options_become_a_request(values: dict[str, Any], request_: Request) -> None:
    """Streams of any name, each once; sizes in bytes."""
    assert make_request(values) == request_


def test_all_faults_are_told_together() -> None:
    """Each names its option."""
    values = {"output": "-", "streams": ["a;b"], "append": True, "duration": "soon", "max_size": "0"}
    with pytest.raises(ConfigurationError) as refusal:
        make_request(values)
    assert [fault.partition(":")[0] for fault in refusal.value.faults] == [
        "--streams", "--duration", "--max-size", "--append is for a file",
    ]  # fmt: skip
