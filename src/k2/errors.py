"""
The errors that end a program of ours, each with the exit code it ends with.

Bad market data is never an error here: it is a value (see `core.outcome`). These are about the environment: what is
configured, what cannot be reached, what broke for good.
"""

from __future__ import annotations

EXIT_OK = 0
EXIT_CONFIGURATION = 2
EXIT_UNAVAILABLE = 69  # sysexits.h EX_UNAVAILABLE
EXIT_FATAL = 70  # sysexits.h EX_SOFTWARE


class K2Error(Exception):
    """Base of all. Its text is one readable line for an operator: what is wrong, and what to do."""

    exit_code = EXIT_FATAL


class ConfigurationError(K2Error):
    """What was asked for cannot work. Carries every fault found, so that one start shows them all."""

    exit_code = EXIT_CONFIGURATION

    def __init__(self, *faults: str) -> None:
        super().__init__("; ".join(faults))
        self.faults = faults


class UnavailableError(K2Error):
    """Something that we need did not come up within the start-up timeout."""

    exit_code = EXIT_UNAVAILABLE


class FatalError(K2Error):
    """A state that running on would make worse. The supervisor should restart us."""
