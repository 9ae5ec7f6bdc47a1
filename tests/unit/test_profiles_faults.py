"""Claims about profiles with mistakes: each is told at its line, all together, and no file breaks the start otherwise."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from k2.ingestion.profiles import profile_directory
from unit.profile_files import HEAD, faults_of, written

TOPIC = "topics:\n  - id: a\n    name: a\n    streams: aggTrade\n"  # lines 3 to 6 behind the head

WRONG = [
    ("version: 1\n", ["1: description is missing"]),
    ("{}\n", ["1: version and description are missing"]),
    ("version: 2\ndescription: x\n", ["1: version: '2' is not 1"]),
    ("version: 1\ndescription:\n", ["2: description: must not be empty: leave the line out, or give a value"]),
    ("version: 1\ndescription: ''\n", ["2: description: must not be empty"]),
    ("- a\n", ["1: a mapping of names to values is due here"]),
    ("", ["1: this is no YAML: the file is empty"]),
    ("version: 1\n  description: x\n", ["2: this is no YAML: mapping values are not allowed here"]),
    ("version: 1\n---\nversion: 1\n", ["2: this is no YAML: but found another document"]),
    ("version: [1\n", ["2: this is no YAML: expected ',' or ']'"]),
    ("version: 1\n\tdescription: x\n", ["2: this is no YAML: "]),
    ("version: 1\n\x07\n", ["2: this is no YAML: "]),
    ("a: " + "[" * 5000, ["1: this is no YAML: it is nested too deeply"]),
    (HEAD + "topic: []\n", ["3: topic: there is no 'topic' here; did you mean topics?"]),
    (HEAD + "zzz: []\n", ["3: zzz: there is no 'zzz' here; there can be version, description, options, environment, topics"]),
    (HEAD + "version: 1\n", ["3: version: is there twice"]),
    (HEAD + "options:\n  symbols: A\n  symbols: B\n", ["5: options.symbols: is there twice"]),
    (HEAD + "? [a]\n: b\n", ["3: a name must be a text"]),
    (HEAD + "options: [a]\n", ["3: options: a mapping of names to values is due here"]),
    (
        HEAD + "options: {batch-sise: 1}\n",
        ["3: options.batch-sise: there is no option 'batch-sise' for a profile; did you mean batch-size?"],
    ),
    (HEAD + "options: {xyzzy: 1}\n", ["3: options.xyzzy: there is no option 'xyzzy' for a profile; it is called as its flag"]),
    (HEAD + "options: {profile: events}\n", ["3: options.profile: there is no option 'profile' for a profile; "]),
    (HEAD + "options:\n  batch-size: 0\n", ["4: options.batch-size: 0 is out of range: 1 to 1000000"]),
    (HEAD + "options: {batch-size: [1, 2]}\n", ["3: options.batch-size: takes one value, not a list"]),
    (HEAD + "options: {batch-size: {a: b}}\n", ["3: options.batch-size: a list is due here"]),
    (HEAD + "options: {batch-size: ~}\n", ["3: options.batch-size: must not be empty: "]),
    (HEAD + "options: {symbols: [A, [B]]}\n", ["3: options.symbols[1]: a single value is due here"]),
    (
        HEAD + "options: {kafka-sasl-password: x}\n",
        ["3: options.kafka-sasl-password: is a secret and does not belong into a file: "],
    ),
    (HEAD + "options: {raw-streams: '@x'}\n", ["3: options.raw-streams: '@x' is no name of a stream"]),
    (HEAD + "options: {streams: kline_7m}\n", ["3: options.streams: spot has no stream 'kline_7m'; did you mean kline_"]),
    (
        HEAD + "options: {reconnect-delay-min: 9, reconnect-delay-max: 8}\n",
        ["3: options.reconnect-delay-min is greater than mine.yaml:3: "],
    ),
    (HEAD + "options: {kafka-property: acks=2}\n", ["3: options.kafka-property acks: '2' is not one of all, 1, 0"]),
    (
        HEAD + "options: {kafka-property: retries=0}\n",
        ["3: options.kafka-property: message.send.max.retries=0 could lose trades: "],
    ),
    (HEAD + "environment: {A: symbols}\n", ["3: environment.A: a mapping of names to values is due here"]),
    (HEAD + "environment: {A: {}}\n", ["3: environment.A: one of 'option', 'topic' and 'ignored' is due here"]),
    (
        HEAD + "environment: {A: {option: symbols, ignored: x}}\n",
        ["3: environment.A: one of 'option', 'topic' and 'ignored' is due here"],
    ),
    (HEAD + "environment: {A B: {ignored: x}}\n", ["3: environment.A B: 'A B' is no name for a variable: "]),
    (
        HEAD + "environment: {A: {option: symbol}}\n",
        ["3: environment.A.option: there is no option 'symbol' for a profile; did you mean symbols?"],
    ),
    (
        HEAD + "environment: {A: {option: symbols, unit: ms}}\n",
        ["3: environment.A.unit: --symbols is not in seconds, so A cannot be in ms"],
    ),
    (HEAD + "environment: {A: {option: batch-timeout, unit: h}}\n", ["3: environment.A.unit: 'h' is not ms"]),
    (
        HEAD + "environment: {A: {option: log-format, values: {text: xml}}}\n",
        ["3: environment.A.values.text: 'xml' is not one of "],
    ),
    (
        HEAD + "environment: {A: {option: symbols, sets: {market: x}}}\n",
        ["3: environment.A.sets.market: 'x' is not one of spot, usdm"],
    ),
    (HEAD + "environment: {A: {ignored: x, unit: ms}}\n", ["3: environment.A: 'unit', 'values' and 'sets' belong to 'option'"]),
    (HEAD + "environment: {A: {topic: x}}\n", ["3: environment.A.topic: there is no topic of the id 'x'; there are none"]),
    (
        HEAD + "environment: {K2_MARKET: {option: symbols}}\n",
        ["3: environment.K2_MARKET: K2_MARKET is the client's own variable of --market, "],
    ),
    (
        HEAD + "environment: {K2_MARKET: {ignored: x}}\n",
        ["3: environment.K2_MARKET: K2_MARKET is the client's own variable of --market, "],
    ),
    (
        HEAD + "environment: {A: {option: kafka-sasl-password, values: {x: y}}}\n",
        ["3: environment.A.values: the words of a secret "],
    ),
    (HEAD + "topics: {}\n", ["3: topics: a list is due here"]),
    (HEAD + "topics: [{id: a}]\n", ["3: topics[0]: name and streams are missing"]),
    (HEAD + TOPIC + "    layout: json\n", ["7: topics[0].layout: there is no layout 'json'; there are avro, raw, "]),
    (HEAD + TOPIC + "    layout: event_\n", ["7: topics[0].layout: there is no layout 'event_'; did you mean event?"]),
    (
        HEAD + TOPIC + "    retention: 7 days\n",
        ["7: topics[0].retention: '7 days' does not fit. A number with ms, s, m, h or d behind it"],
    ),
    (HEAD + TOPIC + "    retention: 999999999999d\n", ["7: topics[0].retention: 999999999999d is too long: write forever"]),
    (HEAD + TOPIC + "    partitions: 0\n", ["7: topics[0].partitions: 0 is out of range: 1 to 10000"]),
    (HEAD + TOPIC + "    partitions: many\n", ["7: topics[0].partitions: 'many' is not a whole number"]),
    (HEAD + TOPIC + "    key: symbols\n", ["7: topics[0].key: 'symbols' is not one of none, symbol"]),
    (HEAD + TOPIC + "    compression: brotli\n", ["7: topics[0].compression: 'brotli' is not one of gzip, "]),
    (
        HEAD + TOPIC + "  - {id: a, name: a, streams: '*'}\n",
        ["7: topics[1].id: 'a' is that of topics[0] already", "7: topics[1].name: 'a' is that of topics[0] already"],
    ),
    (HEAD + TOPIC.replace("name: a", "name: a/b"), ["5: topics[0].name: 'a/b' does not fit. The name of a Kafka topic: "]),
    (HEAD + TOPIC.replace("name: a", "name: .."), ["5: topics[0].name: '..' is no name for a Kafka topic: "]),
    (HEAD + TOPIC.replace("aggTrade", "[]"), ["6: topics[0].streams: must not be empty"]),
    (
        HEAD + TOPIC.replace("aggTrade", "[aggTrade, agTrade]"),
        ["6: topics[0].streams[1]: 'agTrade' takes no stream that there is on spot"],
    ),
    (HEAD + TOPIC.replace("aggTrade", "trade"), ["6: topics[0].streams: take none of the profile's streams: aggTrade"]),
    (
        HEAD + TOPIC.replace("aggTrade", "'*'") + "options: {streams: [trade, kline_1m]}\n",
        ["7: options.streams: topic a would hold records of several schemas"],
    ),
    (
        HEAD + TOPIC.replace("aggTrade", "[btcusdt@*, ethusdt@*, bnbusdt@*]") + "options: {streams: [trade, depth]}\n",
        ["7: options.streams: topic a would hold records of several schemas"],
    ),
    (
        HEAD + "options: {streams: [aggTrade, trade]}\n",
        ["3: options.streams: topic market.crypto.trades.binance would hold the same twice, "],
    ),
    (
        HEAD + "options: {http-port: x}\ntopics: 1\nnone: 1\n",
        ["4: topics: a list is due here", "5: none: there is no 'none' here; "],
    ),
    (HEAD + 'options: {"a\\e[31m": 1}\n', ["3: options.a?[31m: there is no option 'a\\x1b[31m' for a profile; "]),
]


@pytest.mark.parametrize(("text", "told"), WRONG, ids=[f"{number}-{told[0][:40]}" for number, (_, told) in enumerate(WRONG)])
def test_a_mistake_is_told_at_its_line(tmp_path: Path, text: str, told: list[str]) -> None:
    """File, line, the place inside it, what is wrong and what would be right: one printable line for each mistake."""
    faults = faults_of(written(tmp_path, text))
    assert [fault[: len(f"mine.yaml:{start}")] for fault, start in zip(faults, told, strict=True)] == [
        f"mine.yaml:{start}" for start in told
    ]
    assert all(fault.isprintable() for fault in faults)


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"version: 1\n\xff\n", "mine.yaml:2: this is not UTF-8 text"),
        (b"#" * 1_000_001, "mine.yaml:1: the file has more than 1000000 bytes"),
    ],
    ids=["latin-1", "too-large"],
)
def test_what_is_no_text_is_one_fault(tmp_path: Path, content: bytes, fault: str) -> None:
    """A file that cannot be a profile is said to be none."""
    (tmp_path / "mine.yaml").write_bytes(content)
    assert faults_of(str(tmp_path / "mine.yaml")) == [fault]


@pytest.mark.parametrize(
    ("word", "fault"),
    [
        (
            "event",
            "--profile: there is no profile 'event'; did you mean events? A file is named by its path, such as ./mine.yaml",
        ),
        (
            "x",
            "--profile: there is no profile 'x'; there are candles, envelopes, events, futures, trades. A file ",
        ),
        ("./absent.yaml", "--profile: cannot read './absent.yaml': No such file or directory"),
        ("/", "--profile: cannot read '/': Is a directory"),
    ],
)
def test_a_profile_that_is_not_there_is_one_fault(word: str, fault: str) -> None:
    """Names are proposed, paths are named."""
    (told,) = faults_of(word)
    assert told.startswith(fault)


SHIPPED = {path.stem: path.read_text(encoding="utf-8") for path in sorted(profile_directory().glob("*.yaml"))}
SNIPPETS = st.sampled_from(
    [
        "",
        "\n",
        "  ",
        ":",
        "- ",
        "{",
        "}",
        "[",
        "]",
        "'",
        '"',
        "#",
        "*",
        "&a ",
        "*a",
        "!",
        "~",
        "x",
        "7d",
        "\t",
        "options:",
        "\n- a",
    ]
) | st.text(max_size=3)


@st.composite
def mutated(draw: st.DrawFn) -> str:
    """A shipped profile with a few stretches of its text replaced, doubled or swapped."""
    text = draw(st.sampled_from(list(SHIPPED.values())))
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(text)))
        end = draw(st.integers(start, min(len(text), start + 40)))
        text = text[:start] + draw(SNIPPETS | st.just(text[start:end] * 2)) + text[end:]
    return text


@st.composite
def without_or_moved_lines(draw: st.DrawFn) -> str:
    """A shipped profile whose lines were shuffled, doubled and left out."""
    lines = draw(st.sampled_from(list(SHIPPED.values()))).splitlines(keepends=True)
    return "".join(draw(st.lists(st.sampled_from(lines), max_size=len(lines))))


@hypothesis.settings(deadline=None, max_examples=300, suppress_health_check=[hypothesis.HealthCheck.too_slow])
@given(mutated() | without_or_moved_lines())
def test_any_file_gives_settings_or_faults_with_lines(text: str) -> None:
    """Whatever happened to a profile, the start goes on or tells every fault at a line of the file, and never breaks."""
    with tempfile.TemporaryDirectory() as directory:
        faults = faults_of(written(Path(directory), text))
    assert [fault for fault in faults if not re.match(r"mine\.yaml:[1-9][0-9]*: ", fault) or not fault.isprintable()] == []
