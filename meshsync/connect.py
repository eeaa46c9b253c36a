"""``meshsync.connect``: from arguments and the environment to a joined room."""

from __future__ import annotations

import atexit
import re
import sys
import weakref
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import count
from ssl import SSLContext
from typing import TYPE_CHECKING

from meshsync.arguments import hinted_call
from meshsync.client import Client
from meshsync.connection.reconnecting import Backoff, Complaints, ReconnectPlan, is_final
from meshsync.errors import ConnectFailed, UsageError
from meshsync.messaging import MessagingClient
from meshsync.places import program_frame, warn_program
from meshsync.protocol.dialects import dialect as find_dialect
from meshsync.protocol.packets import PACKET_SIZE
from meshsync.protocol.session import Session
from meshsync.room import RoomClient
from meshsync.runtime.coroutines import warn_in_coroutine
from meshsync.runtime.deadlines import Deadline, Timeout, check_duration, check_timeout
from meshsync.runtime.interfaces import Runtime
from meshsync.runtime.threads import spawn_in_finalizer
from meshsync.targets import JoinRequest, JoinSettings
from meshsync.transport.interfaces import Connector, Transport
from meshsync.transport.refusals import explain_no_task
from meshsync.world import REAL_WORLD, World, current_world

if TYPE_CHECKING:
    from meshsync.discovery import RunningEmulator

__all__ = ["connect"]

CONNECT_TIMEOUT = 30.0
"""Seconds, by default."""


@hinted_call
def connect(
    room: str | None = None,
    *,
    name: str | None = None,
    role: str = "user",
    token: str | Callable[[], str] | None = None,
    api_key: str | None = None,
    url: str | None = None,
    timeout: Timeout = "default",
    default_timeout: float | None = None,
    dialect: str = "B",
    reconnect: bool = True,
    reconnect_timeout: float | None = None,
    retry: bool = False,
    packet_size: int = PACKET_SIZE,
    ssl_context: SSLContext | None = None,
    ca_file: str | None = None,
    messaging: Callable[[RoomClient], MessagingClient] = MessagingClient,
    connector: Connector | None = None,
    runtime: Runtime | None = None,
) -> RoomClient:
    """Join a room; return when it is ready.

    Arguments not given come from the environment. An argument beats the environment, a token beats a key.

    Args:
        room: The room's name; else the end of an address with ``/rooms/`` in it, or ``MESHAGENT_ROOM``.
        name: The display name, for a token that is made here from a key. A token that is given has its own.
        role: Likewise: ``user``, ``agent`` or another.
        token: A participant token, or a function that returns one; else ``MESHAGENT_TOKEN``.
        api_key: An API key ``ma-…`` to make a token with; else ``MESHAGENT_API_KEY``, or ``MESHAGENT_SECRET`` with
            ``MESHAGENT_PROJECT_ID`` and ``MESHAGENT_KEY_ID``.
        url: The service's address, or that of a room, with ``/rooms/`` in it; else ``MESHAGENT_ROOM_URL`` or
            ``MESHAGENT_API_URL``, or the hosted service. ``"emulator"`` stands for the one that this user runs on this
            machine, ``"emulator:6375"`` for that on a port: it is found anew for each connection and joined with its
            own key, whatever the environment says; see ``docs/finding.md``.
        timeout: The longest wait, in seconds; 30 by default. Here as in every call, a whole number of thousands that
            is no time people choose, such as 5000, is warned of as milliseconds; 3600 is not, nor is 5000.0.
        default_timeout: The time limit of every call that is not given one, in seconds; None for each one's own.
        dialect: ``B``, as releases from 0.30.0 on speak, or ``A``, as those before; or one of them by name,
            ``A1`` to ``A3`` and ``B1`` to ``B3``. It decides which release the client names, and the place of the
            token.
        reconnect: Whether the client comes back by itself after a loss; see ``docs/reconnecting.md``.
        reconnect_timeout: Seconds after a loss until it gives up and is ``lost``; None for never.
        retry: Whether a room that cannot be reached is tried again until ``timeout``; by default once.
        packet_size: Body bytes in each packet; official clients send 1024, and accept any size. A room that asks for
            larger ones, as the emulator does, gets them.
        ssl_context: For TLS, in place of the system's certificates.
        ca_file: A file of certificates to trust besides the system's; else ``MESHAGENT_EXTRA_CA_FILE``.
        messaging: A subclass of `MessagingClient`, or a function that makes one from the `RoomClient`.
        connector: Opens connections, in place of a WebSocket to the above, none of which is needed then.
        runtime: Gives time and threads, in place of the caller's world's, to the client and its connection. A connector
            that is given has its own; a simulation's rooms are joined in the simulation's alone.
    Raises:
        AuthenticationFailed: If the token was rejected, or neither a token nor a key was found.
        PermissionDenied: If the token does not admit to this room.
        RoomNotFound: If there is no such room, or the name cannot be one.
        RoomUnavailable: If the room is not available now, no emulator is found, or this process has no descriptor or
            thread left.
        ConnectTimeout: If it was not ready in time.
        ConnectFailed: For other reasons, such as an untrusted certificate or a proxy that cannot be used.
        UsageError: If the arguments do not fit together, or several emulators are found.
        ValueError: If there is no such dialect, or ``packet_size`` is less than 1.
    """
    # What has both is in no world but theirs.
    is_placed = runtime is not None and connector is not None
    warn_in_coroutine("connect()")
    world = REAL_WORLD if is_placed else current_world(is_chosen=runtime is not None)
    spoken = find_dialect(dialect)
    session = Session(spoken, packet_size=packet_size)
    if default_timeout is not None:  # A float, which is warned of no more.
        check_timeout(default_timeout, "default_timeout")
        default_timeout = check_duration(default_timeout, "default_timeout")
    patience = check_timeout(reconnect_timeout, "reconnect_timeout")
    chosen = default_timeout if isinstance(timeout, str) and timeout == "default" else timeout
    limit = CONNECT_TIMEOUT if chosen is None and timeout is not None else check_timeout(chosen)
    clock = runtime or world.runtime
    label = f"{name or 'somebody'} in {room or 'a room'}"
    if connector is None:
        request = JoinRequest(room, name, role, token, api_key, url, spoken, ssl_context, ca_file)
        connector, role, label = _find_way(request, world, clock)
    plan = ReconnectPlan(connector, patience, renews_token=callable(token)) if reconnect else None

    make = partial(RoomClient, role=role, default_timeout=default_timeout, messaging=messaging, name=label)

    def join(timeout: float | None) -> RoomClient:
        return _join(connector, timeout, lambda transport: make(transport, session.anew(), clock, plan), clock)

    return _retrying(join, limit, clock, label, callable(token)) if retry else join(limit)


def _join(
    connector: Connector, timeout: float | None, make: Callable[[Transport], RoomClient], runtime: Runtime
) -> RoomClient:
    """Make a connection, and on it a client that is ready, within ``timeout`` seconds."""
    deadline = Deadline(runtime, timeout)
    transport = connector.connect(timeout)
    joined = None
    try:
        joined = make(transport)
        client = joined._meshsync
        try:
            client.open(deadline.left())
        except RuntimeError as error:
            raise explain_no_task(error, runtime) from error
        if runtime is REAL_WORLD.runtime:
            place = _place()
            if hasattr(sys, "ps1"):  # In an interactive session, where a cell or a line is run again.
                _warn_of_namesakes(client)
            _open_clients[next(_serials)] = client
            _places[client] = place
            client.watch(spawn_in_finalizer, *place)
            # In a simulation each chunk has a message of its own, to which faults and records refer.
            client.streams.join_chunks()
    except BaseException:
        if joined is not None:
            joined._meshsync.uplink.close(lambda: None)  # Rather than that it comes back.
        transport.close(0)
        raise
    return joined


def _retrying(
    join: Callable[[float | None], RoomClient], timeout: float | None, runtime: Runtime, name: str, renews_token: bool
) -> RoomClient:
    """Join a room, again and again within ``timeout`` seconds, unless a refusal is final."""
    deadline = Deadline(runtime, timeout)
    backoff, complaints = Backoff(runtime.random(f"reconnect {name}")), Complaints(runtime, name)
    while True:
        try:
            return join(deadline.left())
        except ConnectFailed as error:
            delay, left = backoff.next_delay(error), deadline.left()
            if is_final(error, renews_token=renews_token) or (left is not None and left <= delay):
                raise
            complaints.attempt_failed(error, delay)
        runtime.sleep(delay)


# --- the way ----------------------------------------------------------------------------------------------------------


def _find_way(request: JoinRequest, world: World, clock: Runtime) -> tuple[Connector, str, str]:
    """Return a connector to what is asked for, the role there, and a label."""
    settings = JoinSettings(world.environ, describe=_describe_emulators if world is REAL_WORLD else lambda: "")
    if request.url is None or not re.fullmatch(r"emulator(:\d{1,5})?", request.url.strip()):
        target = request.resolve(settings)
        return world.connector(target.endpoint, clock), target.role, target.label
    if world is not REAL_WORLD:
        raise UsageError(
            f"url={request.url!r} stands for an emulator of this machine, which a simulation does not reach: join the "
            "simulation's rooms without url=, or connect outside of it"
        )
    if request.token is not None or request.api_key is not None:
        raise UsageError(
            f"url={request.url!r} joins with the emulator's own key: leave out token= and api_key=, which may be for "
            "another service; with a token of the emulator, give its address as url="
        )
    from meshsync.local_emulator import EmulatorConnector, port_of  # Few programs need it.

    room = settings.address(request.room, "ws://localhost").room

    def connector_to(emulator: RunningEmulator) -> Connector:
        # None of this process's variables: those for the hosted service must not get to an emulator.
        target = replace(request, room=room, url=emulator.url).resolve(JoinSettings(emulator.env))
        return world.connector(target.endpoint, clock)

    if not request.name:
        raise UsageError(f"no name to join with: give name=, which an emulator's token needs (url={request.url!r})")
    return EmulatorConnector(port_of(request.url.strip()), connector_to), request.role, f"{request.name} in {room}"


def _describe_emulators() -> str:
    from meshsync.local_emulator import describe_emulators

    return describe_emulators()


def _warn_of_namesakes(client: Client) -> None:
    """Name an older client of this process that has the same name in the same room, and goes on when it is dropped."""
    name, room, _ = who = _who(client)
    for other in list(_open_clients.values()):
        is_kept = other.is_open and (other.router.is_awaited or other.streams.is_awaited)
        if name and is_kept and _who(other) == who:
            path, line = _places[other]
            warn_program(
                f"an older client named {name!r} is in room {room!r}, connected at {path}:{line}, and goes on: close "
                "it; peers who look for that name find the older one"
            )


def _who(client: Client) -> tuple[str, str, str]:
    """Return a client's name, its room, and the address of that: several servers may have a room of that name."""
    greeting = client.greeting
    room, url = (greeting.room_name, greeting.room_url) if greeting else ("", "")
    return client.local_participant.name, room, url


def _place() -> tuple[str, int]:
    """Return the file and the line of the program that called into this package."""
    frame, _ = program_frame()
    return frame.f_code.co_filename, frame.f_lineno


# --- the end of the process -------------------------------------------------------------------------------------------

_serials = count()
# The clients and not their rooms: a program may keep `messaging` alone, while the reader keeps the client.
_open_clients: weakref.WeakValueDictionary[int, Client] = weakref.WeakValueDictionary()
_places: weakref.WeakKeyDictionary[Client, tuple[str, int]] = weakref.WeakKeyDictionary()
"""Where each was connected: file and line."""


_EXIT_TIMEOUT = 5.0
"""How long all clients' closing may delay the end of the process, in seconds."""


@atexit.register
def _close_all() -> None:
    """Close the clients of scripts that never do, so that their peers see them leave and not time out."""
    deadline = Deadline(REAL_WORLD.runtime, _EXIT_TIMEOUT)
    for client in list(_open_clients.values()):
        client.close(deadline.left() or 0, None)
