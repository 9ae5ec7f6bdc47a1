"""
The client's own options for the tools beside it: the same flags, variables, files of passwords and faults.

A tool shows the flags that it uses; what it does not show still comes from the environment, so that a tool started where the
client is started means the same broker, registry and topic.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from k2.ingestion.adapters.logs import configure_logging, register_secret
from k2.ingestion.command_line import CommandLine, add_options, given_for_all
from k2.ingestion.options import BY_KEY, SourceKind
from k2.ingestion.settings import Settings, settings_of

BROKER = (
    "kafka.bootstrap", "kafka.security_protocol", "kafka.sasl_mechanism", "kafka.sasl_username",
    "kafka.ca_file", "kafka.cert_file", "kafka.key_file", "kafka.properties",
)  # fmt: skip
REGISTRY = ("registry.url", "registry.user", "registry.ca_file", "registry.cert_file", "registry.key_file")
LOGGING = ("logs.level",)


def add_client_options(parser: argparse.ArgumentParser, keys: Iterable[str]) -> None:
    """Add the flags of these options of the client, by their keys."""
    add_options(parser, (BY_KEY[key] for key in keys))


def client_settings(arguments: argparse.Namespace) -> Settings:
    """
    The client's settings as flags and environment give them. Their passwords are masked from then on in whatever is logged.

    Raises:
        ConfigurationError: with all faults found, each naming its option.
    """
    settings = settings_of(CommandLine(given_for_all(vars(arguments), os.environ), print_config=False, faults=[]), os.environ)
    for secret in settings.secrets():
        register_secret(secret)
    return settings


@contextmanager
def tool_logging(settings: Settings) -> Iterator[None]:
    """Log to standard error as long as the block runs, and only if a level was asked for: a tool has lines of its own."""
    # A profile speaks for the client that it was made for.
    asked_for = settings.sources["logs.level"].kind not in {SourceKind.DEFAULT, SourceKind.PROFILE}
    close = configure_logging(level=settings.logs.level if asked_for else "CRITICAL", stream=sys.stderr)
    try:
        yield
    finally:
        close()
