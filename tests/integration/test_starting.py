"""How the client starts, what it waits for, and what it refuses in one readable line."""

from __future__ import annotations

import socket
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka import Producer

from integration.support import FIRST_ID, SYMBOLS, Rig, RunningClient, generated, ids_by_symbol, wait_until
from integration.relay import CountingRelay
from k2.simulator.faults import Close, Refuse
from kit.ports import free_port
from kit.registry import SchemaRegistry
