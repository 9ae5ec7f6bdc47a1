"""Frames as the exchange documents them, each with the record that they make: a file each under `data`."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

from k2.ingestion.core.pipeline import Pipeline
from k2.ingestion.exchanges.binance.kinds import StreamKind
from k2.ingestion.exchanges.binance.names import stream_of
from unit.core.pipelines import pipeline_of

Golden = dict[str, Any]

DATA = Path(__file__).parent / "data"
GOLDENS: dict[str, Golden] = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(DATA.glob("*.json"))}


def pipeline_for(golden: Golden, *names: str) -> Pipeline:
    """A pipeline that has seen nothing yet, for the golden frame's stream or those that are named."""
    return pipeline_of(golden["market"], names or (golden["stream"],), lambda _: golden["currency"])


def kind_for(golden: Golden) -> StreamKind:
    kind = stream_of(golden["market"], golden["stream"]).kind
    assert kind is not None
    return kind


def event_of(golden: Golden) -> dict[str, Any]:
    """The exchange's event, without its envelope."""
    event: dict[str, Any] = json.loads(golden["frame"])["data"]
    return event


def frame_with(stream: str, data: Any) -> bytes:
    """A frame as the exchange writes it."""
    return json.dumps({"stream": stream, "data": data}, ensure_ascii=False, separators=(",", ":")).encode()


def in_words(value: Any) -> Any:
    """A record as the files spell it: numbers are text with all eight decimals."""
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, dict):
        return {key: in_words(item) for key, item in value.items()}
    return [in_words(item) for item in value] if isinstance(value, list) else value


def as_numbers(value: Any) -> Any:
    """An event with its number texts as numbers, so that padding makes no difference."""
    if isinstance(value, dict):
        return {key: as_numbers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [as_numbers(item) for item in value]
    return Decimal(value) if isinstance(value, str) and value.lstrip("-").replace(".", "").isdecimal() else value
