"""Breaks a producer on purpose, as librdkafka's own tests do: with its call for fatal errors, on a producer of any broker."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING

from kit.mock_kafka import librdkafka

if TYPE_CHECKING:
    from confluent_kafka import Producer

_OBJECT_HEAD_BYTES = object.__basicsize__  # in front of the client's handle, which is the first field of the Python object


def break_for_good(producer: Producer, code: int, reason: str) -> None:
    """Let this producer have met a fatal error, `code` being one of KafkaError's."""
    handle = ctypes.c_void_p.from_address(id(producer) + _OBJECT_HEAD_BYTES)
    trigger = librdkafka().rd_kafka_test_fatal_error
    trigger.restype, trigger.argtypes = ctypes.c_int, (ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p)
    assert trigger(handle, code, reason.encode()) == 0
