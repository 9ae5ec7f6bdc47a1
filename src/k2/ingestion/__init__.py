"""From the exchange to Kafka. `from k2.ingestion import BinanceClient` is the client as a part of another program."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from k2.ingestion.library import BinanceClient

__all__ = ["BinanceClient"]


def __getattr__(name: str) -> Any:
    # Loaded when it is asked for: the pure core must be importable without the whole client.
    if name == "BinanceClient":
        from k2.ingestion.library import BinanceClient  # noqa: PLC0415 - see above

        return BinanceClient
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
