"""Bare limits: what sockets of the standard library reach that do nothing else, in two or three processes.

    python -m tests.benchmarks.limits echo|relay

A benchmark measures them between its own rounds (`Echo`, `Relay`), so that both meet the same machine.
"""

from __future__ import annotations

import json
import os
import select
import socket
import sys
import threading
from contextlib import ExitStack, suppress
from statistics import median
from time import perf_counter, process_time, thread_time

from tests.benchmarks.programs import Program, running, wake_ups

HOST = "127.0.0.1"
MESSAGE = 200
"""Bytes of a message and of its answer, about those of a short message in a room."""
BUFFER = 1 << 20
"""Bytes that the relay and the receiver read at a time."""


def serve_echo() -> None:
    """Send back what comes, to one client."""
    with listening() as server:
        connection = accept(server)
        while data := connection.recv(BUFFER):
            connection.sendall(data)


def serve_relay() -> None:
    """Pass on what comes from the first client to the second."""
    with listening() as server:
        sender, receiver = accept(server), accept(server)
        buffer = memoryview(bytearray(BUFFER))
        while size := sender.recv_into(buffer):
            receiver.sendall(buffer[:size])


def listening() -> socket.socket:
    """Return a server that has told its port."""
    server = socket.create_server((HOST, 0))
    print(json.dumps({"port": server.getsockname()[1]}), flush=True)
    return server


def accept(server: socket.socket) -> socket.socket:
    """Return the connection of the next client."""
    connection, _ = server.accept()
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def start(kind: str, stack: ExitStack, clients: int) -> tuple[Program, list[socket.socket]]:
    """Start one of the servers; return it and connections to it."""
    program = stack.enter_context(running([sys.executable, "-m", "tests.benchmarks.limits", kind], {}))
    port = program.read()["port"]
    connections = [stack.enter_context(socket.create_connection((HOST, port))) for _ in range(clients)]
    for connection in connections:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return program, connections


class Echo:
    """A client of a process that sends back what it gets, both on one thread each."""

    def __init__(self, stack: ExitStack) -> None:
        self._socket = start("echo", stack, 1)[1][0]

    def sequential(self, count: int) -> dict[str, float]:
        """Send messages, each when the answer to the one before is there; return rate, latency, CPU and wake-ups."""
        latencies, message, waits = [], bytes(MESSAGE), wake_ups(os.getpid())
        begin, cpu = perf_counter(), process_time()
        for _ in range(count):
            before = perf_counter()
            self._socket.sendall(message)
            self._read(MESSAGE)
            latencies.append(perf_counter() - before)
        seconds, cpu = perf_counter() - begin, process_time() - cpu
        waits = wake_ups(os.getpid()) - waits
        return {
            "rates": count / seconds,
            "medians": median(latencies) * 1e3,
            "cpus": cpu / count * 1e6,
            "waits": waits / count,
        }

    def pipelined(self, count: int) -> dict[str, float]:
        """Send messages, a system call each, and read all answers; return rate and CPU."""
        message, left = bytes(MESSAGE), count * MESSAGE
        begin, cpu = perf_counter(), process_time()
        for _ in range(count):
            self._socket.sendall(message)
            if select.select([self._socket], [], [], 0)[0]:  # Or both sides would wait with full buffers.
                left -= len(self._socket.recv(BUFFER))
        self._read(left)
        seconds, cpu = perf_counter() - begin, process_time() - cpu
        return {"rates": count / seconds, "cpus": cpu / count * 1e6}

    def _read(self, size: int) -> None:
        while size > 0:
            size -= len(self._socket.recv(BUFFER))


class Relay:
    """A sender and a receiver, with a process between them that passes on; as clients of a room are, on three CPUs."""

    def __init__(self, stack: ExitStack) -> None:
        _, (self._sender, self._receiver) = start("relay", stack, 2)

    def stream(self, count: int, chunk: int) -> dict[str, float]:
        """Send chunks of so many bytes until all have arrived; return megabytes a second and the sender's CPU."""
        left = count * chunk
        done = threading.Event()

        def read() -> None:
            nonlocal left
            buffer = bytearray(BUFFER)
            while left:
                left -= self._receiver.recv_into(buffer)
            done.set()

        thread = threading.Thread(target=read)
        data = bytes(chunk)
        thread.start()
        begin, cpu = perf_counter(), thread_time()
        for _ in range(count):
            self._sender.sendall(data)
        cpu = thread_time() - cpu
        done.wait()
        seconds = perf_counter() - begin
        thread.join()
        megabytes = count * chunk / (1 << 20)
        return {"rate": megabytes / seconds, "sender": cpu / megabytes * 1000}

    def sequential(self, count: int, size: int) -> float:
        """Send messages, each when the one before has arrived; return megabytes a second."""
        arrived = threading.Semaphore(0)

        def read() -> None:
            buffer = bytearray(BUFFER)
            for _ in range(count):
                left = size
                while left:
                    left -= self._receiver.recv_into(buffer, min(left, BUFFER))
                arrived.release()

        thread = threading.Thread(target=read)
        data = bytes(size)
        thread.start()
        begin = perf_counter()
        for _ in range(count):
            self._sender.sendall(data)
            arrived.acquire()
        seconds = perf_counter() - begin
        thread.join()
        return count * size / (1 << 20) / seconds


if __name__ == "__main__":
    with suppress(KeyboardInterrupt, ConnectionError):
        {"echo": serve_echo, "relay": serve_relay}[sys.argv[1]]()
