"""Every test starts from a clean environment and can't reach the network."""

from __future__ import annotations

import os
import signal
import socket
from typing import Any

import pytest
from hypothesis import settings

LOOPBACK = ("127.", "::1", "localhost")
KEYS = ("_API_KEY", "_BASE_URL", "_ORG_ID", "_TOKEN")

settings.register_profile("fuzz", max_examples=10_000, deadline=None)
# How long an example takes says nothing where several processes share a core.
settings.register_profile("tests", deadline=None)
settings.load_profile("tests")

# Read when transformers, tokenizers, torch and matplotlib are imported, so before any fixture; and
# by the processes that tests start.
os.environ.update(
    HF_HUB_OFFLINE="1",
    MPLBACKEND="agg",
    OMP_NUM_THREADS="1",
    TOKENIZERS_PARALLELISM="false",
)


# What a shell starts in the background ignores Ctrl-C, and so would the processes that tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No key and no address of a provider is inherited."""
    for name in os.environ:
        if name.endswith(KEYS):
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def _closed_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections go to this machine only."""
    connect, connect_ex = socket.socket.connect, socket.socket.connect_ex

    def check(sock: socket.socket, address: Any) -> None:
        if sock.family == getattr(socket, "AF_UNIX", None):
            return
        if not str(address[0]).startswith(LOOPBACK):
            pytest.fail(f"a test tried to connect to {address}", pytrace=True)

    def guarded(sock: socket.socket, address: Any) -> None:
        check(sock, address)
        connect(sock, address)

    def guarded_ex(sock: socket.socket, address: Any) -> int:
        check(sock, address)
        return connect_ex(sock, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)
    monkeypatch.setattr(socket.socket, "connect_ex", guarded_ex)
