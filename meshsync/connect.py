"""``meshsync.connect``: from arguments and the environment to a joined room."""

from __future__ import annotations

import atexit
import re
import sys
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from ssl import SSLContext
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

from meshsync.client import Client
from meshsync.connection.reconnecting import Backoff, Complaints, ReconnectPlan, is_final
from meshsync.errors import AuthenticationFailed, ConnectFailed, RoomNotFound, UsageError
from meshsync.messaging import MessagingClient
from meshsync.protocol.dialects import Dialect
from meshsync.protocol.dialects import dialect as find_dialect
from meshsync.protocol.packets import PACKET_SIZE
from meshsync.protocol.session import Session
from meshsync.room import RoomClient
from meshsync.runtime.deadlines import Deadline, Timeout, check_timeout
from meshsync.runtime.interfaces import Runtime
from meshsync.runtime.threads import spawn_in_finalizer
from meshsync.tokens import ApiKey, ParticipantToken, join_lines
from meshsync.transport.interfaces import Connector, Endpoint, Transport
from meshsync.transport.refusals import explain_no_task
from meshsync.world import REAL_WORLD, World, current_world

if TYPE_CHECKING:
    from meshsync.discovery import RunningEmulator

__all__ = ["connect"]

CONNECT_TIMEOUT = 30.0
"""Seconds, by default."""

DEFAULT_API_URL = "wss://api.meshagent.com"
"""Source: PROTOCOL.md, section 2."""


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
        timeout: The longest wait, in seconds; 30 by default.
        default_timeout: The time limit of every call that is not given one, in seconds; None for each one's own.
        dialect: ``B``, as releases from 0.30.0 on speak, or ``A``, as those before; or one of them by name,
            ``A1`` to ``A3`` and ``B1`` to ``B3``. It decides which release the client names, and the place of the
            token.
        reconnect: Whether the client comes back by itself after a loss; see ``docs/reconnecting.md``.
        reconnect_timeout: Seconds after a loss until it gives up and is ``lost``; None for never.
        retry: Whether a room that cannot be reached is tried again until ``timeout``; by default once.
        packet_size: Body bytes in each packet; official clients send 1024, and accept any size.
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
    world = current_world(is_chosen=runtime is not None)
    spoken = find_dialect(dialect)
    session = Session(spoken, packet_size=packet_size)
    check_timeout(default_timeout, "default_timeout")
    patience = check_timeout(reconnect_timeout, "reconnect_timeout")
    chosen = default_timeout if isinstance(timeout, str) and timeout == "default" else timeout
    limit = CONNECT_TIMEOUT if chosen is None and timeout is not None else check_timeout(chosen)
    clock = runtime or world.runtime
    label = f"{name or 'somebody'} in {room or 'a room'}"
    if connector is None:
        request = _Request(room, name, role, token, api_key, url, spoken, ssl_context, ca_file)
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
            _open_clients[next(_serials)] = client
            client.watch(spawn_in_finalizer, *_place())
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


# --- the address ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Request:
    """What a program asks for: where to go and as whom."""

    room: str | None
    name: str | None
    role: str
    token: str | Callable[[], str] | None
    api_key: str | None
    url: str | None
    dialect: Dialect
    ssl_context: SSLContext | None
    ca_file: str | None

    def resolve(self, settings: _Settings) -> _Target:
        """Return what that is, with what it lacks from the environment."""
        where = settings.address(self.room, self.url)
        admission = settings.admission(where.room, self.name, self.role, self.token, self.api_key, self.dialect)
        endpoint = Endpoint(
            url=where.url,
            token=admission.token,
            token_in=self.dialect.token_in,
            version=self.dialect.version,
            ssl_context=self.ssl_context,
            ca_file=self.ca_file or (None if self.ssl_context else settings.get("EXTRA_CA_FILE")),
        )
        return _Target(endpoint, admission.role, f"{self.name or admission.name} in {where.room}")


@dataclass(frozen=True, slots=True)
class _Target:
    """Where to go, and as whom."""

    endpoint: Endpoint
    role: str
    label: str
    """For logs and names of tasks."""


def _find_way(request: _Request, world: World, clock: Runtime) -> tuple[Connector, str, str]:
    """Return a connector to what is asked for, the role there, and a label."""
    settings = _Settings(world.environ, describe=_describe_emulators if world is REAL_WORLD else lambda: "")
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
        target = replace(request, room=room, url=emulator.url).resolve(_Settings(emulator.env))
        return world.connector(target.endpoint, clock)

    if not request.name:
        raise UsageError(f"no name to join with: give name=, which an emulator's token needs (url={request.url!r})")
    return EmulatorConnector(port_of(request.url.strip()), connector_to), request.role, f"{request.name} in {room}"


def _describe_emulators() -> str:
    from meshsync.local_emulator import describe_emulators

    return describe_emulators()


@dataclass(frozen=True, slots=True)
class _Address:
    room: str
    url: str


@dataclass(frozen=True, slots=True)
class _Admission:
    name: str
    role: str
    token: Callable[[], str]


class _Settings:
    """Reads arguments and, behind them, the environment."""

    def __init__(self, environ: Mapping[str, str], describe: Callable[[], str] = lambda: "") -> None:
        self._environ = environ
        self._describe = describe
        """Returns what a program might have wanted that has nothing to join with, as the end of an error's text."""

    def get(self, name: str) -> str | None:
        """Return the variable ``MESHAGENT_…``, or None if it is not set or empty."""
        return self._environ.get(f"MESHAGENT_{name}") or None

    def address(self, room: str | None, url: str | None) -> _Address:
        """Return the room's name and its address."""
        address = (url or self.get("ROOM_URL") or self.get("API_URL") or DEFAULT_API_URL).strip()
        shown = _without_secrets(address)
        try:
            parts = urlsplit(address)
            has_host = bool(parts.hostname) and parts.port != 0
        except ValueError:  # Brackets that do not pair, or a port that is none.
            has_host = False
        scheme = {"http": "ws", "https": "wss"}.get(parts.scheme, parts.scheme) if has_host else ""
        if scheme not in ("ws", "wss"):
            raise UsageError(f"not an address of a room service: {shown!r}; give one like wss://…")
        named = _room_of(address)
        chosen = room or named or self.get("ROOM")
        if not chosen:
            raise UsageError("no room to join: give room=, or set MESHAGENT_ROOM or MESHAGENT_ROOM_URL")
        if url and named not in (None, chosen):
            raise UsageError(f"the address {shown!r} is that of room {named!r}, not of {chosen!r}")
        _check_room_name(chosen)
        # To official clients MESHAGENT_ROOM_URL is a base, despite its name: so where it names a room, another one that
        # is asked for lies beside it.
        base = parts.path.rstrip("/").removesuffix(f"/rooms/{named}")
        path = parts.path if named == chosen else f"{base}/rooms/{chosen}"
        return _Address(chosen, urlunsplit((scheme, parts.netloc, path, parts.query, "")))

    def admission(
        self,
        room: str,
        name: str | None,
        role: str,
        token: str | Callable[[], str] | None,
        api_key: str | None,
        dialect: Dialect,
    ) -> _Admission:
        """Return name, role, and the function that gives each attempt its token."""
        if token is None and api_key is None:
            token = self.get("TOKEN")
        if callable(token):
            return _Admission(name or "", role, lambda: _checked_token(token()))
        if token is not None:
            known = ParticipantToken.peek(token)
            fixed = join_lines(token)
            return _Admission(known.name, known.role, lambda: fixed)
        key = self._key(api_key)
        if not name:
            raise UsageError("no name to join with: give name=, which goes into the token that is made from the key")
        made = ParticipantToken.for_room(
            room, name, role=role, project_id=key.project_id or None, key_id=key.key_id or None, version=dialect.version
        ).encode(key.secret)
        return _Admission(name, role, lambda: made)

    def _key(self, api_key: str | None) -> ApiKey:
        text = api_key or self.get("API_KEY")
        if text:
            return ApiKey.parse(text)
        secret = self.get("SECRET")
        if secret:
            return ApiKey(self.get("KEY_ID") or "", self.get("PROJECT_ID") or "", join_lines(secret))
        raise AuthenticationFailed(
            "nothing to join with: looked for token=, api_key=, MESHAGENT_TOKEN, MESHAGENT_API_KEY, and "
            f"MESHAGENT_SECRET with MESHAGENT_PROJECT_ID and MESHAGENT_KEY_ID{self._describe()}"
        )


def _checked_token(token: object) -> str:
    """Return a token that a program's function gave, without line breaks."""
    if not isinstance(token, str):
        raise UsageError(f"the function given as token= returned no text, but {type(token).__name__}")
    return join_lines(token)


def _without_credential(text: str) -> str:
    """Return an argument for an error, unless it is a key or a token in the wrong place."""
    return "[token]" if re.match(r"\s*(ma-.*-|eyJ)", text) else text


def _without_secrets(address: str) -> str:
    """Return an address for an error, without its query and password, even where it cannot be read as one."""
    shown = _without_credential(re.split(r"[?#]", address)[0])
    scheme, slashes, rest = shown.partition("//")
    if not slashes:
        scheme, rest = "", shown
    rest = rest.rpartition("@")[2]
    # A password with a question mark in it: what is left of it looks like a port that is none.
    if "@" in address and not rest.startswith("[") and re.match(r"[^/]*:[^/]*[^/0-9]", rest):
        rest = "…"
    return f"{scheme}{slashes}{rest}"


def _room_of(url: str) -> str | None:
    found = re.search(r"/rooms/([^/]+)/?$", urlsplit(url).path)
    return found.group(1) if found else None


def _check_room_name(room: str) -> None:
    # Official clients put any name into the path as it is (PROTOCOL.md, section 2), and rooms may have names that their
    # check would refuse. So only names that lead elsewhere than to a room are refused.
    if len(room) > 255 or not re.fullmatch(r"[^\s/?#%\x00-\x1f\x7f\ud800-\udfff]+", room) or room in (".", ".."):
        raise RoomNotFound(
            f"{_without_credential(room)!r:.300} cannot be the name of a room: use a to z, 0 to 9 and hyphens"
        )


def _place() -> tuple[str, int]:
    """Return the file and the line of the program that called into this package."""
    frame = sys._getframe(1)
    while frame.f_back is not None and str(frame.f_globals.get("__name__")).partition(".")[0] == __package__:
        frame = frame.f_back
    return frame.f_code.co_filename, frame.f_lineno


# --- the end of the process -------------------------------------------------------------------------------------------

_serials = count()
# The clients and not their rooms: a program may keep `messaging` alone, while the reader keeps the client.
_open_clients: weakref.WeakValueDictionary[int, Client] = weakref.WeakValueDictionary()


_EXIT_TIMEOUT = 5.0
"""How long all clients' closing may delay the end of the process, in seconds."""


@atexit.register
def _close_all() -> None:
    """Close the clients of scripts that never do, so that their peers see them leave and not time out."""
    deadline = Deadline(REAL_WORLD.runtime, _EXIT_TIMEOUT)
    for client in list(_open_clients.values()):
        client.close(deadline.left() or 0, None)
