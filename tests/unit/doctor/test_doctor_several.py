"""The doctor of a client that writes several topics, over several connections: one finding a check, the worst first."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

import pytest
from msgspec.structs import replace

from k2.doctor.checks import Context, Findings
from k2.doctor.exchange import check_handshake, check_streams, judge_streams
from k2.doctor.findings import Finding, Kind, Status, away, broken, ok, skipped, together, warning, wrong
from k2.doctor.kafka import CLUSTER, TOPIC, check_content, check_properties, check_rights, check_topic
from k2.doctor.listening import Heard, Listener
from k2.doctor.registry import SUBJECT, check_level, check_registry, check_subject
from k2.doctor.rest import check_symbols
from k2.doctor.topics import judge_properties
from k2.doctor.wanted import one_of_each_address, wanted_streams
from k2.errors import UnavailableError
from k2.ingestion.adapters.feed.feed import Endpoint
from k2.ingestion.adapters.feed.transports import choose_transport
from k2.ingestion.exchanges.binance.names import stream_of
from k2.simulator.exchange import Exchange
from k2.simulator.faults import Silence
from k2.simulator.registry import EmbeddedRegistry
from kit.mock_kafka import MockKafka
from unit.core.pipelines import pipeline_of
from unit.doctor.contexts import SYMBOLS, Running, context
from unit.doctor.test_doctor_topics import HEALTHY, WANTED

NONE: Findings = {}
WELL, HM, AWAY, WRONG = ok("well"), warning("hm", "look", "look x"), away("gone", "wait"), wrong("bad", "mend", "mend x")


class TestTogether:
    def test_one_is_told_as_it_is(self) -> None:
        """Nothing is added where there is nothing to add up."""
        found = wrong("bad", "mend", "mend x", facts={"a": 1})
        assert together({"t": found}, "topic") is found

    @pytest.mark.parametrize(
        ("found", "status", "kind", "text"),
        [
            pytest.param([ok("t1 well"), ok("t2 well")], Status.OK, None, "t1 well; 2 of 2 topics are well", id="all-well"),
            pytest.param(
                [WELL, WRONG, HM], Status.FAILED, Kind.CONFIGURATION, "t2: bad; t3: hm; 1 of 3 topics is well", id="worst-first"
            ),
            pytest.param(
                [AWAY, WRONG], Status.FAILED, Kind.CONFIGURATION, "t2: bad; t1: gone; 0 of 2 topics are well", id="to-mend-first"
            ),
            pytest.param([WELL, AWAY], Status.FAILED, Kind.UNAVAILABLE, "t2: gone; 1 of 2 topics is well", id="away"),
            pytest.param([HM, HM, WELL], Status.WARNING, None, "t1: hm (so too t2); 1 of 3 topics is well", id="alike"),
            pytest.param([skipped("no"), skipped("no")], Status.SKIPPED, None, "no", id="all-left-out"),
            pytest.param([skipped("no"), WELL], Status.OK, None, "t2: well; 1 of 2 topics is well, 1 left out (no)", id="a-part"),
            pytest.param([WRONG, broken(ValueError("x"))], Status.FAILED, Kind.DEFECT, "t2: the check itself", id="a-defect"),
        ],
    )  # fmt: skip
    def test_several_are_one_that_begins_with_the_worst(
        self, found: list[Finding], status: Status, kind: Kind | None, text: str
    ) -> None:
        """Each text with the name of what it is about, and how many are well at the end."""
        whole = together(dict(zip(("t1", "t2", "t3"), found, strict=False)), "topic")
        assert (whole.status, whole.kind) == (status, kind)
        assert whole.text.startswith(text)

    def test_commands_of_one_advice_are_one_line_to_paste(self) -> None:
        """What the worst finding advises, for all that share the advice; a warning's command stands for another advice."""
        found = {"t": HM, "u": WRONG, "v": replace(WRONG, command="mend y"), "w": WRONG}
        whole = together(found, "topic")
        assert (whole.advice, whole.command) == ("mend", "mend x && mend y")

    def test_facts_are_those_of_the_first_and_of_each(self) -> None:
        """A program that knew one topic finds what it knew, and one that knows several finds all."""
        whole = together({"t": ok("", facts={"a": 1}), "u": warning("", "", facts={"a": 2})}, "topic")
        assert whole.facts == {"a": 1, "topics": {"t": {"status": "ok", "a": 1}, "u": {"status": "warning", "a": 2}}}

    def test_many_are_bounded(self) -> None:
        """Twenty different complaints do not make a page."""
        whole = together({f"t{n}": warning(f"complaint {n}", "") for n in range(20)}, "topic")
        assert "and 15 more; 0 of 20" in whole.text


@pytest.fixture
def mock() -> Iterator[MockKafka]:
    with MockKafka() as kafka:
        yield kafka


TRADES, KLINES = "market.crypto.trades.binance", "market.crypto.klines.binance"


class TestTopics:
    @pytest.fixture
    def seen(self, mock: MockKafka) -> Context:
        """One of two topics is there."""
        mock.create_topic(TRADES, 12)
        return context("--kafka-bootstrap", mock.bootstrap, "--streams", "aggTrade", "kline_1m")

    async def test_each_topic_is_looked_for(self, seen: Context) -> None:
        """The missing one is named with its command; the facts of the first are where they always were."""
        found = await check_topic(seen, {CLUSTER: ok("", facts={"brokers": ["x"]})})
        assert (found.status, found.facts["partitions"]) == (Status.WARNING, 12)
        assert found.text.startswith(f"{KLINES} does not exist yet")
        assert found.text.endswith("1 of 2 topics is well")
        assert f"--topic {KLINES} " in found.command
        assert {name: facts["exists"] for name, facts in found.facts["topics"].items()} == {TRADES: True, KLINES: False}
        json.dumps(found.facts)

    async def test_what_can_be_asked_of_a_topic_that_is_there_is_asked(self, seen: Context) -> None:
        """The one that is not there is left out with the reason."""
        cluster = ok("", facts={"brokers": ["x"], "controller": None})
        findings = {CLUSTER: cluster, TOPIC: await check_topic(seen, {CLUSTER: cluster})}
        rights, content = await check_rights(seen, findings), await check_content(seen, findings)
        assert (rights.status, "do not tell" in rights.text) == (Status.WARNING, True)
        assert content.text == f"{TRADES}: holds no record of ours yet; 1 of 2 topics is well, 1 left out (there is no topic yet)"
        assert (await check_properties(seen, findings)).status is Status.SKIPPED

    async def test_a_topic_that_failed_hides_none_of_the_others(self, seen: Context) -> None:
        """What builds on it is left out for that topic only."""
        facts = {"partitions": 1, "replicas": 1, "operations": ["WRITE", "DESCRIBE", "READ", "DESCRIBE_CONFIGS"]}
        topics = together({TRADES: ok("", facts=facts), KLINES: wrong("no leader", "")}, "topic")
        rights = await check_rights(seen, {TOPIC: topics})
        assert rights.status is Status.OK
        assert rights.text.endswith(f"1 of 2 topics is well, 1 left out (needs {TOPIC})")

    async def test_json_does_not_tell_whose_it_is(self, mock: MockKafka) -> None:
        """The look at the content is left out with that reason."""
        seen = context("--kafka-bootstrap", mock.bootstrap, "--profile", "events")
        for plan in seen.settings.topics:
            mock.create_topic(plan.name, 12)
        cluster = ok("", facts={"brokers": ["x"], "controller": None})
        found = await check_content(seen, {TOPIC: await check_topic(seen, {CLUSTER: cluster})})
        assert (found.status, found.text) == (Status.SKIPPED, "JSON does not tell which stream it is of")

    def test_what_a_profile_asks_of_a_topic_is_compared(self) -> None:
        """A property beyond the contract is a warning with its command; the command that makes the topic has it as well."""
        wanted = replace(WANTED, properties={"compression.type": "zstd"})
        found = judge_properties(HEALTHY, 3, wanted)
        assert (found.status, found.text) == (Status.WARNING, "compression.type=producer is not zstd, as the profile says")
        assert found.command.endswith("--add-config compression.type=zstd")
        assert "--config compression.type=zstd" in wanted.create_command
        assert judge_properties({**HEALTHY, "compression.type": "zstd"}, 3, wanted).status is Status.OK


class TestSchemas:
    @pytest.fixture
    async def embedded(self) -> AsyncIterator[EmbeddedRegistry]:
        async with EmbeddedRegistry() as registry:
            yield registry

    async def test_every_subject_is_looked_at(self, embedded: EmbeddedRegistry) -> None:
        """Its level too; of a subject that is new the client sets it."""
        seen = context("--schema-registry", embedded.url, "--streams", "aggTrade", "kline_1m", "--raw-streams", "newStream")
        subject = await check_subject(seen, NONE)
        level = await check_level(seen, {SUBJECT: subject})
        assert (subject.status, level.status) == (Status.OK, Status.OK)
        assert "(so too" not in subject.text
        assert subject.text.endswith("3 of 3 topics are well")
        assert list(level.facts["topics"]) == [TRADES, KLINES, "market.crypto.raw.binance"]

    async def test_json_needs_no_registry(self) -> None:
        """Nobody is asked, and the reason is told to all that builds on it."""
        seen = context("--schema-registry", "http://127.0.0.1:1", "--profile", "events")
        assert await check_registry(seen, NONE) == skipped("no topic holds Avro, so no schema is needed")

    async def test_a_registry_that_is_away_names_the_ids_that_are_not_on_disk(self, tmp_path: Path) -> None:
        """A start needs all of them."""
        flags = ("--streams", "aggTrade", "kline_1m", "--state-dir", tmp_path)
        found = await check_registry(context("--schema-registry", "http://127.0.0.1:1", *flags), NONE)
        assert f"no id on disk for {TRADES}-value, {KLINES}-value and waits" in found.advice


def looking_at(exchange: Exchange, *flags: object, symbols: Sequence[str] = SYMBOLS, timeout_s: float = 20.0) -> Context:
    addresses = ("--ws-url", exchange.ws_url, "--rest-url", exchange.rest_url)
    return context("--symbols", *symbols, *addresses, *flags, timeout_s=timeout_s)


class TestStreams:
    async def test_every_stream_of_a_symbol_is_heard_for_itself(self, running: Running) -> None:
        """Several of them have the same key; one that is silent is named."""
        exchange, streams = await running(), ("--streams", "aggTrade", "bookTicker", "depth@100ms")
        found = await check_streams(looking_at(exchange, *streams), NONE)
        assert (found.status, found.facts["streams"], found.facts["silent"]) == (Status.OK, 6, [])
        await exchange.inject(Silence(streams=("btcusdt@bookTicker",)))
        found = await check_streams(looking_at(exchange, *streams, timeout_s=1), NONE)
        assert (found.status, found.facts["silent"]) == (Status.WARNING, ["btcusdt@bookTicker"])

    async def test_a_candle_that_is_still_open_is_heard(self, running: Running) -> None:
        """Nothing of it is published before it closes, and yet the stream is alive."""
        found = await check_streams(looking_at(await running(), "--streams", "kline_1M"), NONE)
        assert found.status is Status.OK
        assert found.facts["events"] > 0
        assert found.facts["published"] == 0

    @pytest.mark.parametrize("limit", [1, 2])
    async def test_streams_are_spread_over_connections(self, running: Running, limit: int) -> None:
        """As the client would: no more on one than it is told, and each is answered for itself."""
        exchange = await running()
        found = await check_streams(looking_at(exchange, "--streams-per-connection", limit), NONE)
        assert (found.status, found.facts["streams"]) == (Status.OK, 2)
        assert len(exchange.handshakes) == 2 // limit

    async def test_two_addresses_are_two_connections(self, running: Running) -> None:
        """The futures exchange has two branches: what either brings is heard."""
        public, market = await running("usdm"), await running("usdm")
        transport = choose_transport("auto", compression=False)

        def endpoint_of(stream: str) -> Endpoint:
            return Endpoint((public if stream.endswith("trade") else market).ws_url + "/stream", transport)

        names = ["btcusdt@trade", "btcusdt@aggTrade", "ethusdt@trade", "ethusdt@aggTrade"]
        heard = await Listener(pipeline_of("usdm", names)).listen(endpoint_of, 20)
        assert (list(heard.silent), heard.acknowledged) == ([], True)
        assert (len(public.handshakes), len(market.handshakes)) == (1, 1)

    async def test_every_address_is_shaken_hands_with(self, running: Running) -> None:
        """One address, one handshake, told as ever."""
        found = await check_handshake(looking_at(await running(), "--streams", "aggTrade", "bookTicker"), NONE)
        assert found.status is Status.OK
        assert "connections" not in found.facts

    def test_both_branches_of_the_futures_are_addresses(self) -> None:
        """Each with a stream that leads there; streams that share one are one."""
        seen = context("--market", "usdm", "--streams", "aggTrade", "bookTicker", "kline_1m", "!forceOrder@arr")
        assert one_of_each_address(seen.settings.feed) == ["any@aggTrade", "any@bookTicker"]


RARE = {"btcusdt@blockTrade": None}


@pytest.mark.parametrize(
    ("heard", "streams", "status", "said"),
    [
        pytest.param(Heard({}, dict(RARE)), 1, Status.OK, "btcusdt@blockTrade, which may stay silent", id="only-rare"),
        pytest.param(
            Heard({}, dict(RARE), published=3, first_after_ms=5), 2, Status.OK,
            "1 of 2 bring events that can be published, the first after 5 ms; btcusdt@blockTrade may", id="a-rare-one",
        ),
        pytest.param(
            Heard({"a": None}, dict(RARE)), 2, Status.FAILED, "no event of a within 10 s", id="nothing-but-rare-ones"
        ),
        pytest.param(Heard({"a": None}, dict(RARE), published=1), 3, Status.WARNING, "1 of 3 streams", id="one-silent"),
        pytest.param(Heard({}, dict(RARE), dict(RARE)), 1, Status.FAILED, "not answered", id="rare-and-unanswered"),
    ],
)  # fmt: skip
def test_the_silence_of_rare_events_says_nothing(heard: Heard, streams: int, status: Status, said: str) -> None:
    """Block trades and liquidations are no trouble while they do not come; their subscription is to be answered all the same."""
    found = judge_streams(heard, streams, 10)
    assert found.status is status
    assert said in found.text
    assert found.facts["quiet"] == list(RARE)


@pytest.mark.parametrize(
    ("name", "quiet"),
    [("btcusdt@aggTrade", False), ("btcusdt@forceOrder", True), ("!forceOrder@arr", True), ("btcusdt@newStream", True)],
)
def test_streams_that_may_stay_silent(name: str, quiet: bool) -> None:
    """Those of rare events, and those that we know nothing of."""
    assert stream_of("usdm", name).is_sparse is quiet


class TestAllSymbols:
    async def test_all_symbols_of_a_quote_asset_are_those_that_the_exchange_lists(self, running: Running) -> None:
        """The streams and the symbols are worked out from its list."""
        seen = looking_at(await running(), symbols=["ALL:USDT"])
        assert {stream.symbol for stream in await wanted_streams(seen)} == set(SYMBOLS)
        symbols = await check_symbols(seen, NONE)
        assert (symbols.status, symbols.facts["symbols"]) == (Status.OK, 2)
        assert (await check_streams(seen, NONE)).facts["streams"] == 2

    async def test_without_a_list_nobody_knows_them(self) -> None:
        """REST off and nothing remembered: the start would wait for the list too."""
        with pytest.raises(UnavailableError, match="ALL:USDT"):
            await wanted_streams(context("--symbols", "ALL:USDT", "--ws-url", "ws://127.0.0.1:1"))

    async def test_nothing_that_trades_in_an_asset_is_a_fault(self, running: Running) -> None:
        """The option is named."""
        found = await check_symbols(looking_at(await running(), symbols=["ALL:XYZ"]), NONE)
        assert (found.kind, found.text) == (Kind.CONFIGURATION, "nothing trades in XYZ")

    async def test_streams_of_all_symbols_need_none(self, running: Running) -> None:
        """The default of --symbols is none of their business."""
        found = await check_symbols(looking_at(await running(), "--streams", "!miniTicker@arr"), NONE)
        assert found == skipped("no stream of a single symbol is wanted")
