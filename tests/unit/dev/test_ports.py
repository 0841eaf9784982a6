"""A held port is refused to whoever asks for any, free for a server that is told it, and silent while nobody serves."""

import gc
import socket

import pytest

from dev.ports import LOOPBACK, HeldPort


def test_a_server_binds_a_held_port_again_and_again() -> None:
    held = HeldPort()
    for _ in range(2):
        with socket.create_server((LOOPBACK, held.number)), socket.create_connection((LOOPBACK, held.number)):
            pass


def test_a_held_port_refuses_callers_while_nobody_serves() -> None:
    held = HeldPort()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((LOOPBACK, held.number))


def test_a_port_is_held_as_long_as_its_holder_lives() -> None:
    held = HeldPort()
    number = held.number
    with socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind((LOOPBACK, number))
    del held
    gc.collect()
    with socket.socket() as other:
        other.bind((LOOPBACK, number))
