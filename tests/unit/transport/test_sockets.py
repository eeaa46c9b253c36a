"""Wires over scripted sockets: what each answer of the system, or of TLS, means."""

from __future__ import annotations

import ssl

import pytest

from meshsync.runtime.threads import ThreadRuntime
from meshsync.transport.sockets import READ, WRITE, PlainWire, TlsWire


class ScriptedSocket:
    """A socket that answers from a list: bytes or a count to return, an exception to raise."""

    def __init__(self, *answers: bytes | int | Exception) -> None:
        self.answers = list(answers)
        self.offered: list[bytes] = []
        self.sizes: list[int] = []

    def recv(self, size: int) -> bytes:
        self.sizes.append(size)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        assert isinstance(answer, bytes)
        return answer

    def send(self, data: bytes | memoryview) -> int:
        self.offered.append(bytes(data))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        assert isinstance(answer, int)
        return answer


def tls(*answers: bytes | int | Exception, received: bytes = b"") -> tuple[TlsWire, ScriptedSocket]:
    """Return a wire and the socket below it."""
    scripted = ScriptedSocket(*answers)
    return TlsWire(scripted, ThreadRuntime().condition(), received), scripted


def test_plain_reads_are_one_call_each() -> None:
    """What came is returned without asking again; nothing there is None, the end is empty."""
    wire = PlainWire(ScriptedSocket(b"abc", BlockingIOError(), b""))
    assert [wire.receive(), wire.receive(), wire.receive()] == [b"abc", None, b""]


def test_plain_reads_grow_with_what_comes() -> None:
    """Full buffers ask for larger ones, up to 256 KiB; small answers lead back."""
    scripted = ScriptedSocket(bytes(16384), bytes(65536), bytes(262144), *[b"x"] * 6)
    wire = PlainWire(scripted)
    for _ in range(9):
        wire.receive()
    assert scripted.sizes == [16384, 65536, 262144, 262144, 131072, 65536, 32768, 16384, 16384]


def test_plain_writes_tell_what_went() -> None:
    """All, a part, or nothing."""
    wire = PlainWire(ScriptedSocket(3, 2, BlockingIOError()))
    assert [wire.send(b"abc", []), wire.send(b"abc", []), wire.send(b"abc", [])] == [3, 2, 0]


def test_tls_reads_until_it_wants_more() -> None:
    """Records hide behind each other, so one receive takes them all, and may then wait."""
    wire, _ = tls(b"one", b"two", ssl.SSLWantReadError())
    assert wire.has_more
    assert wire.receive() == b"onetwo"
    assert (wire.has_more, wire.read_wants) == (False, READ)


def test_tls_reads_a_bounded_amount() -> None:
    """After 256 KiB it stops, and says that it must be asked again before waiting."""
    wire, scripted = tls(*[bytes(16384)] * 20, ssl.SSLWantReadError())
    assert wire.receive() == bytes(262144)
    assert wire.has_more
    assert len(scripted.answers) == 5


def test_tls_that_ends_after_data_ends_in_the_next_read() -> None:
    """Data and end in one go are told one after the other."""
    wire, _ = tls(b"last", b"")
    assert wire.receive() == b"last"
    assert wire.has_more
    assert wire.receive() == b""


def test_tls_that_breaks_after_data_breaks_in_the_next_read() -> None:
    """What came before the fault isn't lost."""
    wire, _ = tls(b"last", ConnectionResetError(), ConnectionResetError())
    assert wire.receive() == b"last"
    assert wire.has_more
    with pytest.raises(ConnectionResetError):
        wire.receive()


def test_tls_may_want_the_opposite() -> None:
    """Reading that waits for writing, and writing that waits for reading, say so."""
    wire, _ = tls(ssl.SSLWantWriteError(), ssl.SSLWantReadError())
    assert wire.receive() is None
    assert wire.send(b"x", []) == 0
    assert (wire.read_wants, wire.write_wants) == (WRITE, READ)


def test_tls_writes_record_by_record_and_tells_the_sum() -> None:
    """Parts are written on until all went or TLS wants to wait; each offer is the rest, unchanged."""
    wire, scripted = tls(2, 2, ssl.SSLWantWriteError(), 2)
    assert wire.send(b"abcdef", []) == 4
    assert wire.write_wants == WRITE
    assert wire.send(memoryview(b"abcdef")[4:], []) == 2
    assert scripted.offered == [b"abcdef", b"cdef", b"ef", b"ef"]


@pytest.mark.parametrize("answer", [ssl.SSLWantReadError(), b"behind"])
def test_bytes_received_before_come_first(answer: bytes | Exception) -> None:
    """What was read past the handshake is returned before waiting for anything."""
    wire, _ = tls(answer, ssl.SSLWantReadError(), received=b"early ")
    assert wire.has_more
    assert (wire.receive() or b"").startswith(b"early ")
    plain = PlainWire(ScriptedSocket(b"late"), b"early")
    assert plain.has_more
    assert (plain.receive(), plain.has_more, plain.receive()) == (b"early", False, b"late")
