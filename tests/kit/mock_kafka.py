"""
librdkafka's own mock cluster, with errors to order: real Kafka protocol on loopback, inside this process, up in milliseconds.

It does not tell the retries of an idempotent producer from new records, so it proves error codes and timing; whatever is said
about duplicates needs the real broker. Its interface is no part of librdkafka's stable one, hence only tests use it.
"""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any, Self

import confluent_kafka
from confluent_kafka import KafkaError

BROKER = 1
PRODUCE, INIT_PRODUCER_ID = 0, 22  # the requests' numbers in Kafka's protocol
_PRODUCER = 0  # rd_kafka_type_t
_ERROR_TEXT_BYTES = 512

_HANDLE, _TEXT, _INT = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int
_FUNCTIONS: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "rd_kafka_conf_new": (_HANDLE, ()),
    "rd_kafka_conf_set": (_INT, (_HANDLE, _TEXT, _TEXT, _TEXT, ctypes.c_size_t)),
    "rd_kafka_new": (_HANDLE, (_INT, _HANDLE, _TEXT, ctypes.c_size_t)),
    "rd_kafka_destroy": (None, (_HANDLE,)),
    "rd_kafka_mock_cluster_new": (_HANDLE, (_HANDLE, _INT)),
    "rd_kafka_mock_cluster_destroy": (None, (_HANDLE,)),
    "rd_kafka_mock_cluster_bootstraps": (_TEXT, (_HANDLE,)),
    "rd_kafka_mock_topic_create": (_INT, (_HANDLE, _TEXT, _INT, _INT)),
    "rd_kafka_mock_push_request_errors_array": (None, (_HANDLE, ctypes.c_int16, ctypes.c_size_t, ctypes.POINTER(_INT))),
    "rd_kafka_mock_clear_request_errors": (None, (_HANDLE, ctypes.c_int16)),
    "rd_kafka_mock_broker_set_down": (_INT, (_HANDLE, ctypes.c_int32)),
    "rd_kafka_mock_broker_set_up": (_INT, (_HANDLE, ctypes.c_int32)),
    "rd_kafka_mock_broker_set_rtt": (_INT, (_HANDLE, ctypes.c_int32, _INT)),
    "rd_kafka_mock_start_request_tracking": (None, (_HANDLE,)),
    "rd_kafka_mock_get_requests": (ctypes.POINTER(_HANDLE), (_HANDLE, ctypes.POINTER(ctypes.c_size_t))),
    "rd_kafka_mock_request_api_key": (ctypes.c_int16, (_HANDLE,)),
    "rd_kafka_mock_request_destroy_array": (None, (ctypes.POINTER(_HANDLE), ctypes.c_size_t)),
}


def librdkafka() -> ctypes.CDLL:
    """The library that the wheel of confluent-kafka brings and Python has loaded already."""
    folder = Path(confluent_kafka.__file__).parents[1] / "confluent_kafka.libs"
    library = ctypes.CDLL(str(next(folder.glob("librdkafka-*.so*"))))
    for name, (result, arguments) in _FUNCTIONS.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


class MockKafka:
    """
    A cluster of one broker, gone with `close` or at the end of a `with` block.

    Attributes:
        bootstrap: Host and port, for any Kafka client of any process on this machine.
    """

    def __init__(self) -> None:
        self._library = librdkafka()
        self._client = self._new_client()
        self._cluster = self._library.rd_kafka_mock_cluster_new(self._client, 1)
        self._library.rd_kafka_mock_start_request_tracking(self._cluster)
        self.bootstrap: str = self._library.rd_kafka_mock_cluster_bootstraps(self._cluster).decode()

    def create_topic(self, name: str, partitions: int = 1) -> None:
        self._check(self._library.rd_kafka_mock_topic_create(self._cluster, name.encode(), partitions, 1))

    def answer_with(self, *codes: str, request: int = PRODUCE) -> None:
        """
        Answer the next requests of a kind with these errors, one each: `KafkaError` names, "NO_ERROR" for one that succeeds.

        What is not used up waits for later requests; for Produce requests until `forgive`.
        """
        numbers = [int(getattr(KafkaError, code)) for code in codes]
        array = (ctypes.c_int * len(numbers))(*numbers)
        self._library.rd_kafka_mock_push_request_errors_array(self._cluster, request, len(numbers), array)

    def forgive(self) -> None:
        """Answer all Produce requests well from now on."""
        self._library.rd_kafka_mock_clear_request_errors(self._cluster, PRODUCE)

    @property
    def produce_requests(self) -> int:
        """How many Produce requests have arrived, answered or not."""
        count = ctypes.c_size_t()
        requests = self._library.rd_kafka_mock_get_requests(self._cluster, ctypes.byref(count))
        keys = [self._library.rd_kafka_mock_request_api_key(requests[index]) for index in range(count.value)]
        self._library.rd_kafka_mock_request_destroy_array(requests, count)
        return keys.count(PRODUCE)

    def set_down(self) -> None:
        """Break all connections and take no new ones."""
        self._check(self._library.rd_kafka_mock_broker_set_down(self._cluster, BROKER))

    def set_up(self) -> None:
        self._check(self._library.rd_kafka_mock_broker_set_up(self._cluster, BROKER))

    def set_delay(self, milliseconds: int) -> None:
        """Answer every request so much later; 0 for at once."""
        self._check(self._library.rd_kafka_mock_broker_set_rtt(self._cluster, BROKER, milliseconds))

    def close(self) -> None:
        self._library.rd_kafka_mock_cluster_destroy(self._cluster)
        self._library.rd_kafka_destroy(self._client)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _new_client(self) -> int:
        """The client that a cluster belongs to: it only lends its threads."""
        text = ctypes.create_string_buffer(_ERROR_TEXT_BYTES)
        configuration = self._library.rd_kafka_conf_new()
        self._library.rd_kafka_conf_set(configuration, b"log_level", b"0", text, _ERROR_TEXT_BYTES)
        client: int | None = self._library.rd_kafka_new(_PRODUCER, configuration, text, _ERROR_TEXT_BYTES)
        if client is None:
            raise RuntimeError(text.value.decode())
        return client

    @staticmethod
    def _check(code: int) -> None:
        if code:
            raise RuntimeError(f"the mock cluster answered with error {code}")
