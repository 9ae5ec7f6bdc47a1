"""Bytes that may be text."""

from __future__ import annotations


def text_of(data: bytes) -> str | None:
    """The bytes as UTF-8 text; None where they are none."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return None
