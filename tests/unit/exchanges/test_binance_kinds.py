"""Which of the exchange's streams we decode, by the names that it documents."""

from __future__ import annotations

import pytest

from k2.ingestion.core.schemas import lint, parse_schema
from k2.ingestion.exchanges.binance.kinds import KINDS, all_market_kind, kind_of
from k2.ingestion.exchanges.binance.names import stream_of
from unit.core.pipelines import ROOT, schema_of

INTERVALS = ["1s", "1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d", "3d", "1w", "1M"]
SPOT_KLINES = [f"kline_{interval}" for interval in INTERVALS]
SPOT = {
    "aggTrade": ["aggTrade"],
    "trade": ["trade"],
    "blockTrade": ["blockTrade"],
    "kline": [*SPOT_KLINES, *(f"{spec}@+08:00" for spec in SPOT_KLINES)],
    "bookTicker": ["bookTicker"],
    "depth": ["depth", "depth@100ms"],
    "partialDepth": ["depth5", "depth10", "depth20", "depth5@100ms", "depth10@100ms", "depth20@100ms"],
    "miniTicker": ["miniTicker"],
    "ticker": ["ticker"],
    "windowTicker": ["ticker_1h", "ticker_4h", "ticker_1d"],
    "avgPrice": ["avgPrice"],
    "referencePrice": ["referencePrice"],
}
USDM = {
    "aggTrade": ["aggTrade"],
    "trade": ["trade"],
    "kline": [spec for spec in SPOT_KLINES if spec != "kline_1s"],
    "bookTicker": ["bookTicker"],
    "depth": ["depth", "depth@0ms", "depth@100ms", "depth@500ms"],
    "rpiDepth": ["rpiDepth@500ms"],
    "partialDepth": [f"depth{levels}{speed}" for levels in (5, 10, 20) for speed in ("", "@100ms", "@500ms")],
    "miniTicker": ["miniTicker"],
    "ticker": ["ticker"],
    "markPrice": ["markPrice", "markPrice@1s"],
    "forceOrder": ["forceOrder"],
}
DOCUMENTED = [
    (market, spec, name) for market, table in (("spot", SPOT), ("usdm", USDM)) for name, specs in table.items() for spec in specs
]
REFUSED = {
    "spot": [
        "", "kline_", "kline_2m", "kline_1m@+07:00", "kline_1m@08:00", "KLINE_1m", "kline_1m ", "depth7", "depth5@500ms",
        "depth@0ms", "depth@500ms", "depth@1000ms", "depth50", "ticker_2h", "ticker_1m", "markPrice", "markPrice@1s",
        "forceOrder", "rpiDepth@500ms", "tradeX", "trade\n", "Trade", "bookticker", "aggTrade@100ms",
    ],
    "usdm": [
        "kline_1s", "kline_1m@+08:00", "kline_2m", "ticker_1h", "avgPrice", "referencePrice", "blockTrade", "depth7",
        "depth@250ms", "depth5@0ms", "rpiDepth", "rpiDepth@100ms", "markPrice@3s", "continuousKline_1m", "compositeIndex",
        "assetIndex",
    ],
}  # fmt: skip
ALL_MARKET = {
    "spot": {
        "!miniTicker@arr": ("miniTicker", "miniTicker"),
        "!ticker_1h@arr": ("windowTicker", "ticker_1h"),
        "!ticker_4h@arr": ("windowTicker", "ticker_4h"),
        "!ticker_1d@arr": ("windowTicker", "ticker_1d"),
    },
    "usdm": {
        "!bookTicker": ("bookTicker", "bookTicker"),
        "!miniTicker@arr": ("miniTicker", "miniTicker"),
        "!ticker@arr": ("ticker", "ticker"),
        "!markPrice@arr": ("markPrice", "markPrice"),
        "!markPrice@arr@1s": ("markPrice", "markPrice@1s"),
        "!forceOrder@arr": ("forceOrder", "forceOrder"),
    },
}
NO_ALL_MARKET = {
    "spot": ["!ticker@arr", "!bookTicker", "!markPrice@arr", "!forceOrder@arr", "!miniTicker", "!ticker_2h@arr", "!trade@arr"],
    "usdm": ["!ticker_1h@arr", "!bookTicker@arr", "!contractInfo", "!assetIndex@arr", "!markPrice@arr@3s", "!forceOrder"],
}


@pytest.mark.parametrize(("market", "spec", "name"), DOCUMENTED)
def test_documented_stream_has_its_kind(market: str, spec: str, name: str) -> None:
    """One kind each: no spec is claimed by two."""
    kind = kind_of(market, spec)
    assert kind is not None
    assert kind.name == name
    assert [other.name for other in KINDS if other.market == market and other.has(spec)] == [name]


@pytest.mark.parametrize(("market", "spec"), [(market, spec) for market, specs in REFUSED.items() for spec in specs])
def test_what_the_market_does_not_have_has_no_kind(market: str, spec: str) -> None:
    """The exchange acknowledges a stream that it does not have and stays silent, so a near miss has to be seen here."""
    assert kind_of(market, spec) is None


@pytest.mark.parametrize(
    ("market", "name", "kind", "spec"),
    [(market, name, *found) for market, table in ALL_MARKET.items() for name, found in table.items()],
)
def test_stream_of_all_symbols_has_its_kind(market: str, name: str, kind: str, spec: str) -> None:
    """And the spec that its elements' own streams have, under which their records are numbered."""
    stream = stream_of(market, name)
    assert stream.kind is not None
    assert (stream.kind.name, stream.spec, stream.symbol) == (kind, spec, "ALL")
    assert stream.kind is kind_of(market, spec)


@pytest.mark.parametrize(("market", "name"), [(market, name) for market, names in NO_ALL_MARKET.items() for name in names])
def test_stream_of_all_symbols_that_the_market_does_not_have_has_no_kind(market: str, name: str) -> None:
    """That of tickers is retired on spot, and those of futures are not there."""
    assert all_market_kind(market, name) is None


SCHEMAS = sorted(path.stem for path in (ROOT / "schemas").glob("*.avsc"))
SIGNED = {"ticker_v2": ["price_change", "price_change_percent"], "mark_price_v2": ["funding_rate"]}


def test_every_schema_is_somebodys() -> None:
    """A file that no kind writes would be a contract that nobody keeps."""
    assert {kind.schema_name for kind in KINDS} | {"raw_v2"} == set(SCHEMAS)


def _is_signed(schema: object) -> bool:
    if isinstance(schema, list):
        return any(_is_signed(branch) for branch in schema)
    if not isinstance(schema, dict):
        return False
    return bool(schema.get("signed")) or any(_is_signed(part) for part in schema.values())


@pytest.mark.parametrize("name", SCHEMAS)
def test_only_changes_and_rates_may_be_negative(name: str) -> None:
    """A price or a quantity below zero is a fault of somebody's, and goes to the dead letters."""
    signed = [field["name"] for field in schema_of(name)["fields"] if _is_signed(field["type"])]
    assert signed == SIGNED.get(name, [])


@pytest.mark.parametrize("name", SCHEMAS)
def test_schema_keeps_the_house_rules(name: str) -> None:
    """What `k2 schemas check` asks of it, and the field by which a topic's records are known."""
    schema = parse_schema(name, (ROOT / "schemas" / f"{name}.avsc").read_text(encoding="utf-8"))
    assert lint(schema) == []
    assert (schema.parsed["fields"][0]["name"], schema.parsed["fields"][0]["type"]) == ("message_id", "string")


FIRST = ["message_id", "symbol", "exchange", "asset_class"]
LAST = ["timestamp", "event_timestamp", "ingestion_timestamp", "vendor_data"]


@pytest.mark.parametrize("name", [name for name in SCHEMAS if name not in ("trade_v2", "raw_v2")])
def test_schemas_begin_and_end_alike(name: str) -> None:
    """Whoever reads one of them reads them all: who and where in front, when and the rest behind."""
    names = [field["name"] for field in schema_of(name)["fields"]]
    assert names[:5] == [*FIRST, "currency"]
    ending = names[names.index("timestamp") :]
    assert ending == [field for field in LAST if field in ending]


@pytest.mark.parametrize("name", SCHEMAS)
def test_schema_is_named_after_its_file(name: str) -> None:
    """quote_v2.avsc holds QuoteV2."""
    schema = parse_schema(name, (ROOT / "schemas" / f"{name}.avsc").read_text(encoding="utf-8"))
    assert schema.full_name == "com.k2.marketdata." + "".join(part.capitalize() for part in name.split("_"))
