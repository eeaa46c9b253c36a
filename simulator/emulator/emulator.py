"""The emulator for programs: a context manager around a gateway in a thread."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Mapping
from importlib.util import find_spec
from types import MappingProxyType, TracebackType
from typing import Any, TypeVar

import meshsync
from meshsync.arguments import hinted_call
from meshsync.errors import UsageError
from meshsync.room import RoomClient
from meshsync.runtime.threads import ThreadRuntime
from meshsync.tokens import ApiKey, MessagingRights, ParticipantToken
from meshsync.world import current_world
from simulator.admission import check_room_name
from simulator.emulator.doorway import Doorway, is_loopback
from simulator.emulator.gateway import Gateway, new_secret, url_host
from simulator.emulator.limits import Limits
from simulator.emulator.loop_thread import LoopThread
from simulator.emulator.recording import Recording, Recordings
from simulator.emulator.rooms import Occupant
from simulator.emulator.settings import CLEARED, LOOPS, EmulatorStats, Settings
from simulator.failing_receivers import RAISE, FailingReceivers
from simulator.faults.fault import Fault
from simulator.faults.injection import check_entries
from simulator.faults.plans import Planned
from simulator.latency import Latency, Matrix, as_latency
from simulator.participants import Participant
from simulator.record.transcript import Transcript
from simulator.spellings import HintedEmulator

__all__ = [
    "CLEARED",
    "DEVELOPMENT_SECRET",
    "Emulator",
    "EmulatorStats",
    "Limits",
    "Occupant",
    "Recording",
    "has_failed",
]

_T = TypeVar("_T")

_log = logging.getLogger("simulator.emulator")

DEVELOPMENT_SECRET = "meshsync-emulator-development-secret-that-everybody-knows"
"""The default secret of tokens on the loopback. It protects nothing, so that pages of other origins are refused."""

_PATIENCE = 5.0
"""Seconds that a call waits for the emulator's thread."""

_PROJECT_ID = "00000000-0000-4000-8000-000000000001"
_KEY_ID = "00000000-0000-4000-8000-000000000002"


class Emulator(HintedEmulator, FailingReceivers):
    """Rooms on a real WebSocket, on this machine; they appear on demand.

    A context manager. It listens from ``start()``, or the beginning of the ``with`` block, until ``close()``.

    Args:
        host: The address to listen on; the default can be reached from this machine alone.
        port: 0 picks a free one.
        secret: The secret that tokens have to be signed with. By default `DEVELOPMENT_SECRET`; where other machines
            can reach ``host``, one that cannot be guessed, made anew for each emulator.
        acknowledge: When the room acknowledges a send: ``"routed"``, when it is in the recipient's queue.
        limits: How much of what there may be.
        allow_origins: Origins of pages that may connect beside those of this machine, as ``https://example.org:8443``;
            ``"*"`` for all. With a secret of your own all may, unless you name some.
        allow_hosts: Names by which clients may call it beside those of this machine, as a container's; likewise.
        insecure: Whether other machines may reach it though its secret is the well-known one.
        record: Whether to keep transcripts of its rooms, which hold everything said there; a `Recording` says how much
            of it, and where.
        latency: The law of delays between each client and its room, in each direction, or seconds; None for none. The
            order in a connection is kept, and a sender that is too fast for it is held up as by TCP. Pings and pongs
            are delayed too, and the handshake takes one delay each way. Of a matrix, with a default.
        seed: The number or text that the chance of delays and faults follows from.
        plan: Faults from the start on, as for `plan`; their participants need not be known yet.
        populate: Returns the participants without a thread that a room begins with, given its name. It is called when a
            room opens, in the emulator's own thread, and must not block. They leave with the room's last client.
        loop: ``"asyncio"``, or ``"uvloop"``, which has to be installed and costs less; its own thread's event loop. No
            other loop of the program changes.
        failing_receivers: What becomes of a test that has this emulator by a fixture, if a receiver or another callback
            of a client in this process, or a participant without a thread, raises: ``"raise"``, it fails; ``"log"``,
            nothing. It is an attribute, too. All of it is logged, and nothing more comes of it outside of pytest.
    Raises:
        UsageError: If an argument makes no sense, or any stranger could come in.
    Example:
        ::

            with Emulator() as emulator:
                with meshsync.connect("demo", name="ada", url=emulator.url, token=emulator.token("demo", "ada")):
                    ...
    """

    @hinted_call
    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        secret: str | None = None,
        acknowledge: str = "routed",
        limits: Limits | None = None,
        allow_origins: Collection[str] = (),
        allow_hosts: Collection[str] = (),
        insecure: bool = False,
        record: bool | Recording = False,
        latency: Latency | float | None = None,
        seed: int | str = 0,
        plan: Iterable[Planned | Fault] = (),
        populate: Callable[[str], Iterable[Participant]] | None = None,
        loop: str = "asyncio",
        failing_receivers: str = RAISE,
    ) -> None:
        if not isinstance(record, (bool, Recording)):
            raise UsageError(f"record: True, False or a Recording, not {record!r:.100}")
        if secret == "":
            raise UsageError("secret: it must not be empty, since it signs tokens")
        if acknowledge != "routed":
            raise UsageError(f"acknowledge: there is 'routed', not {acknowledge!r}")
        if loop not in LOOPS:
            raise UsageError(f"loop: it is one of {', '.join(map(repr, LOOPS))}, not {loop!r:.100}")
        if loop == "uvloop" and find_spec("uvloop") is None:
            raise UsageError("loop: uvloop is not installed; pip install uvloop, or leave it at 'asyncio'")
        if type(port) is not int or not 0 <= port <= 65535:
            raise UsageError(f"port: a port is a number from 0 to 65535, not {port!r:.100}")
        self.failing_receivers = failing_receivers
        self.host = host
        self.secret: str = _choose_secret(secret, host, insecure)
        self._port = port
        doorway = Doorway(self.secret == DEVELOPMENT_SECRET, allow_origins, allow_hosts, host or None)
        law = None if latency is None else as_latency(latency)
        if isinstance(law, Matrix) and law.default is None:
            raise UsageError("latency: a matrix needs a default= here, since any name may join")
        kept = Recording() if record is True else record or None
        entries = check_entries(plan)
        self._settings = Settings(self.secret, limits or Limits(), doorway, kept, law, seed, entries, populate, loop)
        self._recordings: Recordings | None = None
        self._clients: dict[RoomClient, None] = {}
        """Those of `connect` that may be open, to be closed with it."""
        self._thread: LoopThread | None = None
        self._has_failed = False
        self._last_stats = EmulatorStats()

    def __enter__(self) -> Emulator:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Emulator {self.url if self.is_open else 'closed'}>"

    @property
    def is_open(self) -> bool:
        """Whether it listens."""
        return self._thread is not None and self._thread.is_alive

    def start(self) -> Emulator:
        """Listen; return when clients can connect. Does nothing if it listens already.

        Raises:
            UsageError: If the port is in use, or the host is not an address of this machine; it does not listen.
        """
        if self._thread is None:
            if self.secret == DEVELOPMENT_SECRET and not is_loopback(self.host):
                _log.warning("whoever can reach %s may join every room: everybody knows the secret", self.host)
            gateway = Gateway(self._settings)
            self._thread = LoopThread(gateway, self.host, self._port)
            self._recordings = gateway.recordings
        return self

    def close(self) -> None:
        """Disconnect all clients and stop listening, within a few seconds. Again does nothing.

        All faults end first, and the clients of `connect` are closed.
        """
        clients, self._clients = self._clients, {}
        for client in clients:
            client.close(1)
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.close()
            self._has_failed = thread.has_failed
            if self._recordings is not None:
                self._recordings.close()
            self._last_stats = thread.gateway.stats()

    @property
    def port(self) -> int:
        """The port it listens on."""
        return self._opened.port

    @property
    def url(self) -> str:
        """Its address, without a room, as ``ws://127.0.0.1:50123``."""
        return f"ws://{self._authority}"

    @property
    def env(self) -> Mapping[str, str]:
        """Environment variables that make official SDKs and meshsync connect here, and sign tokens that it accepts.

        None of `CLEARED` may be set beside them. ``MESHAGENT_API_KEY`` is among them since from 0.6.0 to 0.47.1 such a
        key beats a secret that a program gives: one for the hosted service would sign tokens that are not valid here.
        """
        return MappingProxyType(
            {
                # With http, as in official settings; every SDK turns it into ws for rooms.
                "MESHAGENT_API_URL": f"http://{self._authority}",
                "MESHAGENT_PROJECT_ID": _PROJECT_ID,
                "MESHAGENT_KEY_ID": _KEY_ID,
                "MESHAGENT_SECRET": self.secret,
                "MESHAGENT_API_KEY": str(ApiKey(_KEY_ID, _PROJECT_ID, self.secret)),
            }
        )

    @hinted_call
    def token(
        self,
        room: str,
        name: str,
        *,
        role: str = "user",
        version: str | None = None,
        expires: float | None = None,
        messaging: bool | MessagingRights = True,
    ) -> str:
        """Return a token that lets ``name`` into ``room`` here.

        Args:
            version: The SDK release that the token names as its maker; None for none.
            expires: Seconds since the Unix epoch; None for never.
            messaging: The rights that it grants there.
        """
        token = ParticipantToken.for_room(
            room,
            name,
            role=role,
            project_id=_PROJECT_ID,
            key_id=_KEY_ID,
            version=version,
            expires=expires,
            messaging=messaging,
        )
        return token.encode(self.secret)

    def stats(self) -> EmulatorStats:
        """Return the current counts; once it is closed, those at its end."""
        thread = self._thread
        return self._last_stats if thread is None else thread.call(_called(thread.gateway.stats), timeout=_PATIENCE)

    def transcript(self, room: str) -> Transcript:
        """Return what was recorded of a room so far, from its first opening on; also when this is closed.

        It does not grow: ask again for what follows. A room that empties and is opened again goes on in one
        transcript. Times are those since that first opening, in real time; there are no packets.

        Raises:
            UsageError: If nothing is recorded, or no such room was opened.
        """
        recordings, thread = self._recordings, self._thread
        if self._settings.record is None:
            raise UsageError("nothing is recorded: Emulator(record=True) does")
        if recordings is None:
            raise UsageError("the emulator was never started, so nothing is recorded")
        if thread is None:
            return recordings.transcript(room)
        return thread.call(_called(lambda: recordings.transcript(room)), timeout=_PATIENCE)

    @property
    def recorded(self) -> tuple[str, ...]:
        """The names of all rooms that have a transcript, in the order in which they were opened first."""
        recordings, thread = self._recordings, self._thread
        if recordings is None:
            return ()
        return recordings.rooms if thread is None else thread.call(_called(lambda: recordings.rooms), timeout=_PATIENCE)

    def drop(self, name: str) -> None:
        """Cut the TCP connections of participants called ``name``, without a close frame, as a failing network does.

        Official Python clients from 0.38.0 on reconnect after that, and after nothing else; so does TypeScript 0.39.9.

        Raises:
            UsageError: If no participant with that name is connected.
        """
        thread = self._opened
        if not thread.call(thread.gateway.drop(name), timeout=_PATIENCE):
            hint = "give the name of one that is, or wait until it has joined"
            raise UsageError(f"no participant {name!r} is connected: {hint}")

    # --- who is there -------------------------------------------------------------------------------------------------

    @property
    def rooms(self) -> tuple[str, ...]:
        """The names of the rooms that are open, in the order of opening."""
        thread = self._opened
        return thread.call(_called(thread.gateway.rooms), timeout=_PATIENCE)

    def participants(self, room: str) -> tuple[Occupant, ...]:
        """Return the participants of a room in the order of arrival, as they are now; none if it is not open."""
        thread = self._opened
        return thread.call(_called(lambda: thread.gateway.occupants(room)), timeout=_PATIENCE)

    @hinted_call
    def connect(self, room: str, name: str, *, role: str = "user", **options: Any) -> RoomClient:
        """Return a client that has joined a room here; it is closed with the emulator, unless it was before.

        Args:
            options: Of ``meshsync.connect``.
        Raises:
            ConnectFailed: As ``meshsync.connect``.
            UsageError: If options for the address or the token are given, it is not running, or this is a simulation.
        """
        for own in ("url", "token", "api_key", "connector"):
            if own in options:
                raise UsageError(f"{own}: the emulator's own is used; leave it out, or call meshsync.connect")
        if "runtime" not in options and not isinstance(current_world().runtime, ThreadRuntime):
            text = "a program in a simulation is in no real room: connect outside of it"
            raise UsageError(f"{text}, or in real threads by runtime=meshsync.runtime.threads.ThreadRuntime()")
        token = self.token(room, name, role=role)
        client = meshsync.connect(room, url=self.url, token=token, **options)
        for other in tuple(self._clients):
            if other.state.is_over:
                self._clients.pop(other, None)
        self._clients[client] = None
        return client

    @hinted_call
    def add(self, room: str, *participants: Participant) -> None:
        """Let participants without a thread into a room; it is opened if need be, and stays open from then on.

        Their methods are called in the emulator's own thread: nothing of theirs may block, and no other thread may call
        them. Whatever one raises is logged, and fails a test that has this emulator by a fixture.

        Raises:
            UsageError: If no room can have that name, or one of them is in a room already; those before it were let in.
        """
        check_room_name(room)
        thread = self._opened
        thread.call(_called(lambda: thread.gateway.add(room, participants)), timeout=_PATIENCE)

    # --- faults -------------------------------------------------------------------------------------------------------

    def plan(self, *entries: Planned | Fault) -> None:
        """Plan faults, as for a simulation; ``docs/emulator-faults.md`` tells what each does to a real connection.

        Times are real seconds from this call. A fault that is not planned for a time strikes, or holds from, now. One
        that is planned, and strikes when no room knows its participant, is logged: a lasting one holds all the same.

        Raises:
            UsageError: If one is no fault, or a fault that strikes now is about an unknown participant.
        """
        given = check_entries(entries)
        thread = self._opened
        thread.call(_called(lambda: thread.gateway.plan(given)), timeout=_PATIENCE)

    @property
    def _authority(self) -> str:
        return f"{url_host(self.host)}:{self.port}"

    @property
    def _opened(self) -> LoopThread:
        if self._thread is None:
            raise UsageError("the emulator is not running: use it as a context manager, or call start()")
        return self._thread


def processor_time(emulator: Emulator) -> float:
    """Return the processor time that its own thread has used so far, in seconds."""
    return emulator._opened.processor_time(timeout=_PATIENCE)


def has_failed(emulator: Emulator) -> bool:
    """Return whether its thread ended by a fault of its own, or did not end when it was closed; the log says which."""
    return emulator._has_failed


def _choose_secret(secret: str | None, host: str, insecure: bool) -> str:
    """Return the secret to use.

    Raises:
        UsageError: If other machines could come in with the well-known secret.
    """
    if is_loopback(host) or insecure:
        return secret or DEVELOPMENT_SECRET
    if secret == DEVELOPMENT_SECRET:
        text = f"host: other machines may reach {host!r}, and everybody knows the development secret"
        raise UsageError(f"{text}; give another, or none so that one is made, or insecure=True (--insecure)")
    return secret or new_secret()


async def _called(work: Callable[[], _T]) -> _T:
    """Return what a function returns, in the loop that runs this."""
    return work()
