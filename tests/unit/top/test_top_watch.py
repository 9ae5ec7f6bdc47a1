"""Looking at a client on and on: what is asked, what is remembered, and what becomes of a client that goes away."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from k2.errors import ConfigurationError, UnavailableError
from k2.ingestion.settings import HttpSettings
from k2.top.fetch import Answer
from k2.top.request import Request, make_request
from k2.top.session import Lines, Watch
from k2.top.snapshot import health_in
from unit.scripted_health import later, report

if TYPE_CHECKING:
    from k2.ingestion.core.health import HealthReport
    from k2.top.snapshot import Seen

URL = "http://127.0.0.1:8001"
HERE = HttpSettings("127.0.0.1", 8001)
REFUSED = UnavailableError("Connection refused")
NOT_OURS = Answer(404, b"<html>not found</html>")


WHOLE = json.dumps(report().body)[:-1].encode()
# Of a client, but for a field that nobody shows, or a number that nobody can count to.
ODD = [WHOLE + field + b"}" for field in (b', "x": 1e999', b', "x": "\xff"', b', "uptime_seconds": 1' + b"0" * 400,
                                          b', "answered_at_ms": -1' + b"0" * 400)]  # fmt: skip


class Enough(Exception):  # noqa: N818 - the end of a test's time, and no error
    """Raised by the clock of a test when everything was played."""


def answer(of: HealthReport) -> Answer:
    return Answer(of.http_status, json.dumps(of.body).encode())


class Played:
    """A client whose answers are given, on a clock of its own: sleeping is what makes the time pass."""

    def __init__(self, *answers: Answer | UnavailableError, took_s: float = 0.0) -> None:
        self._answers, self._took_s = list(answers), took_s
        self.now_s, self.slept_s = 100.0, [0.0][:0]
        self.asked: list[tuple[str, str]] = []

    def watch(self, **options: Any) -> Watch:
        clock = {"clock_s": lambda: self.now_s, "clock_ns": lambda: round(self.now_s * 1e9), "sleep": self.sleep}
        return Watch(Request(URL, **options), fetch=self.fetch, **clock)  # type: ignore[arg-type]  # each is of its own type

    def fetch(self, url: str, path: str, _timeout_s: float) -> Answer:
        self.asked.append((url, path))
        self.now_s += self._took_s
        found = self._answers.pop(0)
        if isinstance(found, UnavailableError):
            raise found
        return found

    def sleep(self, seconds: float) -> None:
        self.slept_s.append(round(seconds, 3))
        self.now_s += seconds
        if not self._answers:
            raise Enough


def seen_of(played: Played, **options: Any) -> list[Seen]:
    """Everything that is shown until the answers are used up."""
    shown: list[Seen] = []
    with pytest.raises(Enough):
        played.watch(**options).on(shown.append)
    return shown


class TestWatch:
    def test_looks_come_at_an_even_pace(self) -> None:
        """The time that an answer takes is part of the interval, and an answer that takes longer costs no second wait."""
        played = Played(*[answer(report())] * 3, took_s=0.3)
        seen_of(played, interval_s=1.0)
        assert played.slept_s == [0.7] * 3
        assert played.asked == [(URL, "/health")] * 3
        slow = Played(answer(report()), took_s=5.0)
        seen_of(slow, interval_s=1.0)
        assert slow.slept_s == [0.0]

    def test_rates_come_with_the_second_look(self) -> None:
        """One look tells none, two tell how many came in between."""
        first, second = seen_of(Played(answer(report()), answer(later(2.0, 1_200, (800, 399, 1)))), interval_s=2.0)
        assert (first.per_s, {row.per_s for row in first.streams}) == (None, {None})
        assert second.per_s == 600
        assert {row.stream: row.per_s for row in second.streams} == {
            "btcusdt@aggTrade": 400, "ethusdt@aggTrade": 199.5, "bnbusdt@aggTrade": 0.5,
        }  # fmt: skip

    def test_a_client_that_was_started_anew_has_no_rate_yet(self) -> None:
        """Counters that fell tell no rate; the look after it does again."""
        fresh = later(2.0, -7_000, (-4_000, -3_197, 0), uptime_s=1.0)
        again = later(4.0, -6_000, (-3_500, -2_697, 0), uptime_s=3.0)
        shown = seen_of(Played(*map(answer, (report(), fresh, again))), interval_s=2.0)
        assert [seen.per_s for seen in shown] == [None, None, 500]

    def test_a_client_that_was_started_anew_long_ago_has_no_rate_yet(self) -> None:
        """Between two looks a minute apart it was up for 20 s, ended, and is up for 50 s now: it counts from 0."""
        before, after = report(uptime_s=20.0), later(60.0, 1_500, (800, 700, 0), uptime_s=50.0)
        shown = seen_of(Played(answer(before), answer(after)), interval_s=60.0)
        assert [seen.per_s for seen in shown] == [None, None]

    def test_a_client_that_goes_away_is_waited_for(self) -> None:
        """How long it has been away grows; what was known stays; and when it answers nothing of it is left."""
        played = Played(answer(report()), REFUSED, REFUSED, answer(later(3.0, 300, (300, 0, 0))))
        shown = seen_of(played, interval_s=1.0)
        assert [seen.fault for seen in shown] == ["", "Connection refused", "Connection refused", ""]
        assert [seen.away_for_s for seen in shown] == [0, 1, 2, 0]
        assert all(seen.health is not None for seen in shown)
        assert shown[-1].per_s == 100

    def test_a_client_that_is_not_there_yet_is_waited_for(self) -> None:
        """Before its first answer there is nothing to show but that."""
        first, second = seen_of(Played(REFUSED, answer(report())))
        assert (first.health, first.fault) == (None, "Connection refused")
        assert second.health is not None

    def test_an_unhealthy_client_is_a_client(self) -> None:
        """503 with health in it is an answer."""
        [seen] = seen_of(Played(answer(report(dead_letters_writable=False))))
        assert (seen.fault, seen.http_status) == ("", 503)

    @pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff", b'{"status": "healthy"}', b"[" * 100_000, *ODD], ids=repr)
    def test_whoever_is_no_client_is_refused(self, body: bytes) -> None:
        """An answer without health is a wrong address, not a client that is away."""
        assert health_in(body) is None
        with pytest.raises(ConfigurationError, match=rf"{URL} is no client of k2: HTTP 200"):
            Played(Answer(200, body)).watch().on(lambda _: None)

    @pytest.mark.parametrize(("status", "is_away"), [(502, True), (503, True), (504, True), (404, False), (301, False)])
    def test_a_proxys_word_for_a_client_that_is_away(self, status: int, is_away: bool) -> None:
        """What a gateway says of a client that is down is waited for; any other answer is another server."""
        played = Played(Answer(status, b"<html>"), answer(report()))
        if is_away:
            assert [bool(seen.fault) for seen in seen_of(played)] == [True, False]
        else:
            with pytest.raises(ConfigurationError):
                played.watch().on(lambda _: None)

    def test_a_client_once_met_is_waited_for_whatever_answers(self) -> None:
        """Another server may stand in for it for a while."""
        assert [bool(seen.fault) for seen in seen_of(Played(answer(report()), NOT_OURS, answer(report())))] == [
            False,
            True,
            False,
        ]


class TestOnce:
    def test_takes_two_looks_for_the_rates(self) -> None:
        """What is shown is the second one, an interval later, and names no pace."""
        played = Played(answer(report()), answer(later(2.0, 1_200, (0, 0, 0))), REFUSED)
        seen = played.watch(once=True, interval_s=2.0).once()
        assert (played.slept_s, seen.per_s, seen.interval_s) == ([2.0], 600, 0.0)

    @pytest.mark.parametrize("answers", [[REFUSED], [answer(report()), REFUSED]], ids=["never-there", "gone-in-between"])
    def test_nobody_there_ends_it(self, answers: list[Answer | UnavailableError]) -> None:
        """With one line that names the address and what to look at."""
        with pytest.raises(UnavailableError, match=rf"^{URL} does not answer: Connection refused; .*--http-port"):
            Played(*answers, REFUSED).watch(once=True).once()


class TestLines:
    def test_an_absence_is_told_once_at_its_beginning_and_at_its_end(self, capsys: pytest.CaptureFixture[str]) -> None:
        """Beside the lines, which come for answers only."""
        told: list[str] = []
        lines = Lines(told.append, as_json=False)
        for seen in seen_of(Played(answer(report()), REFUSED, REFUSED, answer(report()))):
            lines.show(seen)
        assert told == [f"waiting for {URL}: Connection refused", f"{URL} is back"]
        assert len(capsys.readouterr().out.splitlines()) == 2

    def test_a_program_gets_an_object_for_every_look(self, capsys: pytest.CaptureFixture[str]) -> None:
        """Those without an answer among them."""
        lines = Lines(lambda _: None, as_json=True)
        for seen in seen_of(Played(answer(report()), REFUSED, answer(report()))):
            lines.show(seen)
        assert [json.loads(line)["answered"] for line in capsys.readouterr().out.splitlines()] == [True, False, True]


def request_of(values: dict[str, str] | None = None, http: HttpSettings = HERE) -> Request:
    return make_request(values or {}, lambda: http)


class TestRequest:
    @pytest.mark.parametrize(
        ("given", "found"),
        [
            ("http://10.0.0.5:8001", "http://10.0.0.5:8001"),
            ("http://10.0.0.5:8001/", "http://10.0.0.5:8001"),
            ("http://10.0.0.5:8001/health", "http://10.0.0.5:8001"),
            ("https://host/clients/one", "https://host/clients/one"),
        ],
    )
    def test_an_address_may_be_written_as_people_copy_it(self, given: str, found: str) -> None:
        """With a slash at its end, with /health, or below a proxy's path."""
        assert request_of({"url": given}).url == found

    @pytest.mark.parametrize(
        ("host", "found"),
        [
            ("127.0.0.1", URL),
            ("0.0.0.0", URL),  # noqa: S104 - nothing is bound
            ("::", "http://[::1]:8001"),
            ("::1", "http://[::1]:8001"),
            ("box", "http://box:8001"),
        ],
    )
    def test_without_an_address_it_is_where_the_client_would_serve(self, host: str, found: str) -> None:
        """And a client that listens everywhere is asked on this machine."""
        assert request_of(http=HttpSettings(host, 8001)).url == found

    def test_the_clients_settings_are_not_asked_where_an_address_is_given(self) -> None:
        """Watching a client elsewhere does not need its configuration here."""

        def unasked() -> HttpSettings:
            raise AssertionError

        assert make_request({"url": URL}, unasked).url == URL

    def test_the_usual(self) -> None:
        """A second between looks, on and on, for people."""
        assert request_of() == Request(URL, 1.0, once=False, as_json=False)

    @pytest.mark.parametrize(
        ("values", "told"),
        [
            pytest.param(
                {"url": "localhost:8001"}, "URL: 'localhost:8001' is not an address such as http://HOST:PORT", id="no-scheme"
            ),
            pytest.param({"url": "http://user:hunter2@host"}, "must not carry a user name or password", id="password"),
            pytest.param({"url": "ftp://host"}, "(http or https)", id="scheme"),
            pytest.param({"interval": "0"}, "--interval: 0 s is out of range: 0.2 to 3600", id="too-often"),
            pytest.param({"interval": "soon"}, "--interval: 'soon' is not a number of seconds", id="no-number"),
            pytest.param({"url": URL, "http.port": "1"}, "URL excludes --http-host and --http-port", id="both"),
        ],
    )
    def test_what_makes_no_sense_is_refused(self, values: dict[str, str], told: str) -> None:
        """With a fault that says why, and never with a password in it."""
        with pytest.raises(ConfigurationError) as caught:
            request_of(values)
        assert told in str(caught.value)
        assert "hunter2" not in str(caught.value)

    def test_every_fault_is_reported_at_once(self) -> None:
        """A wrong address and a wrong interval are two faults."""
        with pytest.raises(ConfigurationError) as caught:
            request_of({"url": "x", "interval": "y"})
        assert len(caught.value.faults) == 2

    def test_a_free_port_cannot_be_guessed(self) -> None:
        """Port 0 is any port, so the address has to be given."""
        with pytest.raises(ConfigurationError, match="--http-port 0 takes any free port"):
            request_of(http=HttpSettings("127.0.0.1", 0))
