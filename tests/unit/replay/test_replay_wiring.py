"""What a replay asks the world outside for: each thing once, patiently, and only where it has to."""

from __future__ import annotations

from typing import Any, cast

import pytest

from faults.assembly import make_record
from k2.errors import ConfigurationError, UnavailableError
from k2.ingestion.adapters.registry import SchemaRegistry
from k2.ingestion.adapters.registry_access import ResolvedSchema, SchemaNotRegisteredError
from k2.ingestion.adapters.rest import RestClient, RestError, RestFailure
from k2.ingestion.adapters.schema_files import load_schema
from k2.ingestion.adapters.state import StateDirectory
from k2.ingestion.exchanges.binance.symbols import SymbolInfo
from k2.ingestion.settings import Settings, load_settings
from k2.ingestion.startup import SYMBOLS_VERSION, symbols_document
from k2.replay.wiring import QuoteAssets, SchemaIds

SCHEMA = load_schema("trade_v2")
OTHER_SCHEMA = '{"type": "record", "name": "Other", "fields": [{"name": "message_id", "type": "string"}]}'


def value_of(schema_id: int) -> bytes:
    """A trade's value, as it was written with the schema of this id."""
    return b"\0" + schema_id.to_bytes(4) + make_record(3).value[5:]


def settings(*argv: str) -> Settings:
    return load_settings(list(argv), {})


class Registry:
    """Knows ids up to 7, once it has come up; `asked` lists the questions."""

    def __init__(self, away: int = 0) -> None:
        self.asked: list[Any] = []
        self.away = away

    def _answer(self, question: Any) -> None:
        self.asked.append(question)
        if len(self.asked) <= self.away:
            raise UnavailableError("no answer")

    def resolve(self, subject: str, _schema: Any, *, register: bool) -> ResolvedSchema:
        assert not register, "a replay writes to no registry"
        self._answer(subject)
        return cast("ResolvedSchema", type("Resolved", (), {"schema_id": len(self.asked)}))

    def schema_text(self, schema_id: int) -> str | None:
        self._answer(schema_id)
        return SCHEMA.text if schema_id <= 7 else OTHER_SCHEMA if schema_id == 8 else None


def schema_ids(registry: Registry, *argv: str) -> SchemaIds:
    return SchemaIds(settings(*argv), cast("SchemaRegistry", registry))


class TestSchemaIds:
    def test_each_id_is_asked_for_once(self) -> None:
        """A hundred thousand letters are one request."""
        registry = Registry()
        ids = schema_ids(registry)
        assert [ids.of(topic, SCHEMA) for topic in ("t", "u", "t", "u")] == [1, 2, 1, 2]
        assert [ids.still_reads(value_of(schema_id)) for schema_id in (7, 9, 7, 9)] == [True, False, True, False]
        assert registry.asked == ["t-value", "u-value", 7, 9]

    @pytest.mark.parametrize("value", [b"", b"{}", b"\1\0\0\0\7", b"\0\0\0\0\7", b"\0\0\0\0\7torn"])
    def test_what_is_no_record_of_ours_cannot_be_read(self, value: bytes) -> None:
        """No framing, nothing behind it, or half of it: such bytes are of no use to a consumer."""
        assert not schema_ids(Registry()).still_reads(value)

    def test_an_id_that_was_given_again_is_noticed(self) -> None:
        """A registry that was made anew has another schema under the id: what is read with it is not our record."""
        assert not schema_ids(Registry()).still_reads(value_of(8))

    def test_a_registry_that_comes_up_late_is_waited_for(self) -> None:
        """It costs the wait and no letter."""
        registry = Registry(away=1)
        assert schema_ids(registry).still_reads(value_of(7))
        assert registry.asked == [7, 7]

    def test_a_registry_that_never_answers_ends_the_run(self) -> None:
        """After the start-up timeout, which the text names."""
        with pytest.raises(UnavailableError, match="gave up after 0 s of waiting for the schema registry: no answer"):
            schema_ids(Registry(away=9), "--startup-timeout", "0").of("t", SCHEMA)


def test_a_schema_that_is_not_registered_may_be_that_of_another_profile() -> None:
    """A topic of JSON has no subject: to register a schema for it is not the first thing to do."""

    class Bare(Registry):
        def resolve(self, subject: str, _schema: Any, *, register: bool) -> ResolvedSchema:
            assert not register
            raise SchemaNotRegisteredError(subject, "trade_v2", "k2 schemas register ...")

    with pytest.raises(
        ConfigurationError, match=r"t-value does not hold the schema trade_v2; name the --profile .* else register"
    ):
        schema_ids(Bare()).of("t", SCHEMA)


class Exchange:
    """What the exchange answers about symbols; `asked` lists for which it was asked."""

    def __init__(self, known: dict[str, str], *, reachable: bool = True) -> None:
        self.known, self.reachable = known, reachable
        self.asked: list[str] = []

    async def exchange_info(self, _client: RestClient, symbols: list[str]) -> dict[str, SymbolInfo]:
        self.asked += symbols
        if not self.reachable:
            raise RestError(RestFailure.TIMEOUT, "nobody")
        return {name: SymbolInfo(name, "", quote) for name, quote in self.known.items()}


@pytest.fixture
def exchange(monkeypatch: pytest.MonkeyPatch) -> Exchange:
    made = Exchange({"ODDPAIR": "ODD"})

    async def exchange_info(client: RestClient, symbols: list[str]) -> dict[str, SymbolInfo]:
        return await made.exchange_info(client, symbols)

    monkeypatch.setattr(RestClient, "exchange_info", exchange_info)
    return made


class TestQuoteAssets:
    @pytest.fixture
    def remembering(self, tmp_path: Any) -> Settings:
        """Settings with the copy that a running client keeps of the exchange's metadata."""
        state = StateDirectory(tmp_path / "state")
        infos = [{"symbol": "OURPAIR", "base_asset": "OUR", "quote_asset": "PAIR", "status": ""}]
        state.write(symbols_document("spot"), SYMBOLS_VERSION, infos)
        state.close()
        return settings("--state-dir", str(tmp_path / "state"))

    def test_the_clients_own_copy_comes_first(self, remembering: Settings, exchange: Exchange) -> None:
        """It is what the live records were made with."""
        for ask in (False, True):
            assert QuoteAssets(remembering, ask=ask).of("spot", "OURPAIR") == "PAIR"
        assert exchange.asked == []

    def test_the_exchange_is_asked_for_what_the_client_does_not_know(self, remembering: Settings, exchange: Exchange) -> None:
        """Once a symbol, and only about the market of the settings."""
        assets = QuoteAssets(remembering, ask=True)
        assert [assets.of("spot", "ODDPAIR") for _ in range(3)] == ["ODD"] * 3
        assert assets.of("usdm", "ETHUSDC") == "USDC"
        assert exchange.asked == ["ODDPAIR"]

    def test_a_dry_run_asks_nobody(self, remembering: Settings, exchange: Exchange) -> None:
        """The ending of the symbol serves."""
        assert QuoteAssets(remembering, ask=False).of("spot", "ODDUSDT") == "USDT"
        assert exchange.asked == []

    @pytest.mark.parametrize("reachable", [False, True])
    def test_symbols_that_nobody_knows_do_not_keep_the_exchange_busy(
        self, remembering: Settings, exchange: Exchange, reachable: bool
    ) -> None:
        """Letters may be of any number of symbols: neither ten seconds nor the whole list of symbols is spent on each."""
        exchange.reachable = reachable
        assets = QuoteAssets(remembering, ask=True)
        assert {assets.of("spot", f"NEW{number}USDT") for number in range(20)} == {"USDT"}
        assert exchange.asked == ["NEW0USDT"]

    def test_without_an_address_nobody_is_asked(self, exchange: Exchange) -> None:
        """REST is off, as it is for the client."""
        assert QuoteAssets(settings("--rest-url", "off"), ask=True).of("spot", "ODDUSDT") == "USDT"
        assert exchange.asked == []
