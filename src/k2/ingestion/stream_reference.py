"""The stream table as Markdown tables, for the reference."""

from __future__ import annotations

from k2.ingestion.core.sequence import ContiguousSequence
from k2.ingestion.exchanges.binance.kinds import KINDS, StreamKind
from k2.ingestion.reference import table_row
from k2.ingestion.topic_plan import sibling_topic
from k2.ingestion.wishes import readable
from k2.ingestion.worked_out import MARKET_DEFAULTS

_HEADER = "| Streams | Record | Topic | Ids |\n|---|---|---|---|"
_MARKETS = {"spot": "Spot", "usdm": "USDⓈ-M futures"}


def streams_table() -> str:
    """One table for each market, in the order of the code."""
    return "\n\n".join(f"**{title}**\n\n{_HEADER}\n{_rows(market)}" for market, title in _MARKETS.items())


def _rows(market: str) -> str:
    return "\n".join(_row(kind) for kind in KINDS if kind.market == market)


def _row(kind: StreamKind) -> str:
    prefix = MARKET_DEFAULTS["kafka.topic_prefix"][kind.market]
    streams = ", ".join(f"`{readable(names)}`" for names in (kind.specs, kind.all_market) if names)
    ids = "contiguous" if kind.numbering is ContiguousSequence else "rising"
    return table_row(streams, f"`{kind.schema_name}`", f"`{sibling_topic(prefix, kind.topic)}`", ids)
