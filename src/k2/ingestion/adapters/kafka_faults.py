"""What librdkafka's errors mean for the operator, for the clients that look before the first record is produced."""

from __future__ import annotations

import logging
import re
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from confluent_kafka import KafkaError, KafkaException

from k2.errors import ConfigurationError, K2Error, UnavailableError

# By name: librdkafka's own codes are private attributes of the Python class.
AUTHORISATION = frozenset({"TOPIC_AUTHORIZATION_FAILED", "CLUSTER_AUTHORIZATION_FAILED", "GROUP_AUTHORIZATION_FAILED"})
_AUTHENTICATION = frozenset({"_AUTHENTICATION", "SASL_AUTHENTICATION_FAILED"})

# With TLS 1.3 a broker judges our certificate after the handshake: librdkafka calls that a broken transport.
_CERTIFICATE_REFUSED = re.compile(r"certificate|unknown ca", re.IGNORECASE)

# A plain connection to a listener with TLS and one to a broker that hangs are reported in these words and no others.
_BARE = re.compile(r"brokers are down|Failed to get metadata")
_NO_TLS = re.compile(r"SSL (handshake|routines)")  # certificates are another matter, see above

# What to look at, by the property that librdkafka's complaint names.
_ADVICE = {
    "ssl.key.": "check --kafka-key and K2_KAFKA_KEY_PASSWORD",
    "ssl.certificate.": "check --kafka-cert",
    "ssl.ca.": "check --kafka-ca",
}

REMEMBERED = 50  # librdkafka repeats itself for as long as a broker is away

C = TypeVar("C")


class BrokerUnavailableError(UnavailableError):
    """No broker answers, or the cluster has no controller now. Waiting may help."""


def open_client(client: Callable[..., C], config: Mapping[str, Any], logger: logging.Logger) -> C:
    """
    Make a librdkafka client that logs through `logger`; without one it writes to stderr.

    Raises:
        ConfigurationError: librdkafka does not take the configuration, for example a file that cannot be read.
    """
    try:
        return client(dict(config), logger=logger)
    except (KafkaException, ValueError, TypeError) as error:
        reason = error.args[0].str() if isinstance(error, KafkaException) else error
        advice = next((advice for name, advice in _ADVICE.items() if name in str(reason)), "check the --kafka-* options")
        raise ConfigurationError(f"the Kafka client cannot be set up: {reason}; {advice}") from error


class ClientFaults:
    """Collects what a client reports on the side (its `error_cb`): the reason behind a bare "transport failure"."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self._bootstrap = str(config.get("bootstrap.servers", ""))
        self._errors: deque[KafkaError] = deque(maxlen=REMEMBERED)

    def append(self, error: KafkaError) -> None:
        self._errors.append(error)

    def explain(self, failure: KafkaException) -> K2Error:
        """Our error for a failed request."""
        return self._explained([*self._errors, failure.args[0]])

    def explain_silence(self) -> K2Error:
        """Our error where no request failed, and yet nothing came."""
        return self._explained(list(self._errors))

    def _explained(self, errors: Sequence[KafkaError]) -> K2Error:
        permanent = (self._permanent(error) for error in errors)
        fallback = BrokerUnavailableError(f"Kafka at {self._bootstrap} gives no answer{_reason(errors)}")
        return next((error for error in permanent if error is not None), fallback)

    def _permanent(self, error: KafkaError) -> ConfigurationError | None:
        if error.name() in _AUTHENTICATION:
            advice = "check --kafka-sasl-mechanism, --kafka-sasl-username and K2_KAFKA_SASL_PASSWORD"
            return ConfigurationError(f"Kafka at {self._bootstrap} refuses our credentials ({error.str()}); {advice}")
        if error.name() in {"_SSL", "_TRANSPORT"} and _CERTIFICATE_REFUSED.search(error.str()):
            advice = "check --kafka-ca, --kafka-cert and --kafka-key"
            return ConfigurationError(f"no trusted connection to Kafka at {self._bootstrap} ({error.str()}); {advice}")
        return None


def _reason(errors: Sequence[KafkaError]) -> str:
    """Why there is no answer, from the first error that gives a reason."""
    telling = next((error.str() for error in errors if not _BARE.search(error.str())), "")
    if not telling:
        silent = ": it lets us connect, and then is silent or hangs up"
        return f"{silent}; if it worked before, look whether it hangs, else check the address and --kafka-security-protocol"
    return f" ({telling}){'; check --kafka-security-protocol' if _NO_TLS.search(telling) else ''}"
