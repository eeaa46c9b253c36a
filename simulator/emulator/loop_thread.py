"""A gateway's loop in a thread of its own."""

from __future__ import annotations

import asyncio
import concurrent.futures
import errno
import logging
import os
import threading
import time
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from meshsync.errors import UsageError, WouldDeadlock
from meshsync.runtime.threads import ThreadRuntime
from simulator.emulator.gateway import Gateway
from simulator.engine.actor_threads import start_for_real

__all__ = ["LoopThread"]

_log = logging.getLogger("simulator.emulator")

_T = TypeVar("_T")


class LoopThread:
    """A gateway's loop in a thread of its own, driven from others."""

    def __init__(self, gateway: Gateway, host: str, port: int) -> None:
        """Start the thread and wait until it listens.

        Raises:
            UsageError: If the address cannot be listened on; no thread is left.
        """
        self.gateway = gateway
        self.has_failed: bool = False
        """Whether it ended by a fault of its own, or did not end."""
        self._closing = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._opened: concurrent.futures.Future[int] = concurrent.futures.Future()
        # A daemon: a program that never closes its emulator ends all the same.
        self._thread = threading.Thread(target=self._run, args=(host, port), name="simulator.emulator", daemon=True)
        start_for_real(self._thread)  # Opened inside a simulation, the loop is no actor of it.
        try:
            self.port: int = self._opened.result()
        except OSError as error:
            self._thread.join()
            why = os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)
            is_port = error.errno in (errno.EADDRINUSE, errno.EACCES)
            hint = "port=0 picks a free one" if is_port else "host= is an address of this machine, 127.0.0.1 by default"
            raise UsageError(f"cannot listen on {host} port {port}: {why}; {hint}") from None
        except BaseException:
            self.close()
            raise

    @property
    def is_alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def call(self, work: Coroutine[Any, Any, _T], *, timeout: float) -> _T:
        """Run ``work`` in the loop, from any other thread, and return its result.

        Raises:
            WouldDeadlock: In the loop's own thread, where participants without a thread are called.
            concurrent.futures.TimeoutError: If there is none after ``timeout`` seconds; ``work`` goes on.
        """
        assert self._loop is not None
        if threading.current_thread() is self._thread:
            work.close()
            text = "this is the emulator's own thread, which participants without a thread and populate are called in"
            raise WouldDeadlock(f"{text}: call the emulator from another one")
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout)

    def processor_time(self, *, timeout: float) -> float:
        """Return the processor time that the thread has used so far, in seconds."""

        async def measure() -> float:
            return time.thread_time()

        return self.call(measure(), timeout=timeout)

    def close(self) -> None:
        """Close the gateway and end the thread, within a few seconds."""
        if self._loop is not None and self._thread.is_alive():
            with suppress(RuntimeError):  # The loop has just ended by itself.
                self._loop.call_soon_threadsafe(self._closing.set)
        self._thread.join(self.gateway.settings.limits.linger + 5)
        if self._thread.is_alive():
            self.has_failed = True
            _log.warning("the emulator did not end in time")

    def _run(self, host: str, port: int) -> None:
        try:
            if self.gateway.settings.loop == "uvloop":
                import uvloop

                uvloop.run(self._main(host, port))
            else:
                asyncio.run(self._main(host, port))
        except BaseException as error:
            if not self._opened.done():
                self._opened.set_exception(error)
                return
            self.has_failed = True
            _log.exception("the emulator ended for no fault of its clients'")

    async def _main(self, host: str, port: int) -> None:
        self._loop = loop = asyncio.get_running_loop()
        # Its timers go on where a test freezes the time of its own program.
        loop.time = ThreadRuntime.monotonic  # type: ignore[method-assign]
        self._opened.set_result(await self.gateway.open(host, port))
        await self._closing.wait()
        await self.gateway.close()
