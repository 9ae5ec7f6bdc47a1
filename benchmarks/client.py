"""
What a message costs: the real client beside the floor and the textbook client, in one run.

    python -m benchmarks.client [--quick]

The last line is one JSON object. See README.md in this directory for the method.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TypeVar

from msgspec import Struct

from benchmarks import frames
from benchmarks.latency import Latency, run_paced
from benchmarks.processes import BenchmarkError, Worker
from benchmarks.report import Round, machine, summary, table
from benchmarks.runs import Place, run_client, run_floor, run_textbook
from k2.errors import K2Error
from kit.jars import PartUnavailableError
from kit.kafka import KafkaBroker
from kit.registry import SchemaRegistry
from kit.server import ServerFailedError

AnyServer = TypeVar("AnyServer", KafkaBroker, SchemaRegistry)
EXPECTED_FAILURES = (BenchmarkError, K2Error, PartUnavailableError, ServerFailedError, OSError, AssertionError)  # the kit's


class Plan(Struct):
    """How much to measure. `textbook_messages` is less than `messages`, as each takes several times as long."""

    messages: int = 150_000
    textbook_messages: int = 30_000
    rounds: int = 7
    paced_seconds: float = 20.0


QUICK = Plan(messages=100_000, textbook_messages=15_000, rounds=3, paced_seconds=5.0)


class Loads(Struct, frozen=True):
    """The prepared files."""

    records: Path
    wire: Path
    textbook_wire: Path


def main(argv: list[str] | None = None) -> int:
    options = _parser().parse_args(argv)
    plan = _plan(options)
    on = machine()
    try:
        with _place(options.kafka_bootstrap, options.schema_registry) as place:
            rounds, latency = _measure(place, plan)
    except EXPECTED_FAILURES as error:
        print(f"benchmarks.client: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    print(f"\n{on}\n{table(rounds, latency)}\n\n{summary(rounds, latency)}", flush=True)
    return 0


def _measure(place: Place, plan: Plan) -> tuple[list[Round], Latency]:
    loads = _prepare(place.directory, plan)
    _tell("warming the broker up")
    run_floor(place, "bench.warm-up", loads.records, plan.messages)
    rounds = [_round(place, plan, loads, number) for number in range(1, plan.rounds + 1)]
    _tell(f"{plan.paced_seconds:g} s at 10,000 messages a second")
    return rounds, run_paced(place, "bench.paced", plan.paced_seconds)


def _round(place: Place, plan: Plan, loads: Loads, number: int) -> Round:
    done = Round(
        floor=run_floor(place, f"bench.floor.{number}", loads.records, plan.messages),
        client=run_client(place, f"bench.client.{number}", loads.wire, plan.messages),
        textbook=run_textbook(place, f"bench.textbook.{number}", loads.textbook_wire, plan.textbook_messages),
    )
    costs = (f"{cost.us_per_message:.1f}" for cost in (done.floor, done.client, done.textbook))
    _tell(f"round {number}: " + " | ".join(costs) + " us a message")
    return done


def _prepare(directory: Path, plan: Plan) -> Loads:
    messages = frames.flood(max(plan.messages, plan.textbook_messages))
    return Loads(
        frames.write_records(messages[: plan.messages], directory / "records"),
        frames.write_wire(messages[: plan.messages], directory / "wire"),
        frames.write_wire(messages[: plan.textbook_messages], directory / "textbook-wire"),
    )


@contextmanager
def _place(bootstrap: str | None, registry_url: str | None) -> Iterator[Place]:
    """A broker and a registry, started here unless given, and a feeder. Gone afterwards, with all their files."""
    with ExitStack() as parts:
        broker = None if bootstrap else _launched(KafkaBroker(), parts)
        registry = None if registry_url else _launched(SchemaRegistry(), parts)
        directory = Path(parts.enter_context(tempfile.TemporaryDirectory(prefix="k2-bench-")))
        feeder = parts.enter_context(Worker("feeder"))
        port = int(feeder.expect("port"))
        bootstrap = broker.wait_until_ready().bootstrap if broker else bootstrap
        registry_url = registry.wait_until_ready().url if registry else registry_url
        yield Place(bootstrap or "", registry_url or "", feeder, port, directory)


def _launched(server: AnyServer, parts: ExitStack) -> AnyServer:
    _tell(f"starting {server.title}")
    parts.callback(server.close)
    return server.launch()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.client", description=__doc__, allow_abbrev=False)
    parser.add_argument("--quick", action="store_true", help="less of everything: under a minute")
    parser.add_argument("--messages", type=_positive, help="messages in each run of the floor and the client")
    parser.add_argument("--textbook-messages", type=_positive, help="messages in each run of the textbook client")
    parser.add_argument("--rounds", type=_positive, help="how often each is run")
    parser.add_argument("--paced-seconds", type=_positive, help="how long to run at 10,000 messages a second")
    parser.add_argument("--kafka-bootstrap", metavar="HOST:PORT", help="use this broker; its topics bench.* must not exist")
    parser.add_argument("--schema-registry", metavar="URL", help="use this registry")
    return parser


def _plan(options: argparse.Namespace) -> Plan:
    plan = QUICK if options.quick else Plan()
    for name in plan.__struct_fields__:
        if (given := getattr(options, name)) is not None:
            setattr(plan, name, given)
    return plan


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1 on")
    return int(text)


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
