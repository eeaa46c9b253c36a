"""``doctor``: finds out why a room cannot be joined, step by step, and says what to do."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

import click

from meshsync.cli.access import Access, joins
from meshsync.cli.advice import advise
from meshsync.cli.checks import TOKENS, Finding, Source, check_token, describe_sources, first
from meshsync.cli.exits import ExitCode, Unfinished, exit_code
from meshsync.cli.output import Output, plain
from meshsync.cli.wording import with_options
from meshsync.connect import connect
from meshsync.discovery import find_emulator, find_emulators
from meshsync.errors import AuthenticationFailed, ConnectFailed, MeshsyncError, PermissionDenied
from meshsync.local_emulator import port_of
from meshsync.protocol.dialects import dialect
from meshsync.targets import DEFAULT_API_URL, JoinRequest, JoinSettings
from meshsync.tokens import ApiKey
from meshsync.transport.connector import WebSocketConnector
from meshsync.transport.interfaces import Endpoint
from meshsync.transport.proxies import find_proxy
from meshsync.world import current_world

__all__ = ["doctor"]

PATIENCE = 10.0
"""Seconds for connecting, and for enabling messaging, unless ``--timeout`` says otherwise."""


@click.command()
@click.argument("room", required=False)
@joins
def doctor(access: Access, output: Output, room: str | None) -> None:
    """Examine what is configured, the token, the network and the room; say what is wrong, and what to do.

    It goes on after a fault where that makes sense. The exit status is that of the first fault.
    """
    output.reached = lambda: "the examination was interrupted"
    code: int = ExitCode.DONE
    for finding in _examine(access.of(room)):
        members = {name: getattr(finding, name) for name in ("step", "outcome", "detail", "advice", "seconds", "facts")}
        masked = {name: output.mask(members[name]) for name in ("detail", "advice")}
        output.record({**members, **masked}, _line(finding, **masked))
        if finding.outcome == "failed" and code == ExitCode.DONE:
            code = finding.code
    if code != ExitCode.DONE:
        raise Unfinished(code)
    output.text("nothing is wrong")


def _line(finding: Finding, detail: str, advice: str) -> str:
    outcome = finding.outcome.upper() if finding.outcome == "failed" else finding.outcome
    seconds = "" if finding.seconds is None else f"{finding.seconds:.3f} s"
    line = f"{outcome:8} {finding.step:16} {seconds:>8}  {plain(detail)}".rstrip()
    return f"{line}\n{'':8} {'do:':>16} {'':8}  {plain(advice)}" if advice else line


# --- what is configured -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Plan:
    """What is configured, as far as it can be read."""

    room: str
    endpoint: Endpoint
    credential: Source | None
    """Where the token, or the key for one, comes from."""
    address: Source
    """Where the address comes from."""


def _examine(access: Access) -> Iterator[Finding]:
    """Yield the findings in order."""
    environ: Mapping[str, str] = os.environ
    ignored = ""
    if access.is_emulator:
        try:
            found = find_emulator(port_of(str(access.url)))
        except MeshsyncError as error:
            if find_emulators():
                yield _fault("emulator", error, "choose one by its port: --url emulator:PORT")
            else:
                yield _fault("emulator", error, "start one with 'meshsync emulator'", ExitCode.UNREACHABLE)
            return
        yield Finding("emulator", "ok", str(found), facts={"url": found.url, "pid": found.pid})
        ignored = "the emulator is joined with its own"
    groups = _sources(access, environ)
    yield from describe_sources(groups, ignored)
    if access.is_emulator:
        access = access.at(access.room or environ.get("MESHAGENT_ROOM"), found.url)
        environ = found.env
        groups = _sources(access, environ)
    credential, secret = first(groups["credential"]), _secret(groups)
    address = first(groups["address"])
    assert address is not None  # The hosted service is the last of them.
    settings = JoinSettings(environ)
    try:
        where = settings.address(access.room, access.url)
    except MeshsyncError as error:
        yield _fault("address", error, advise("address", error, address.name), ExitCode.USAGE)
        return
    yield Finding(
        "address", "ok", f"{where.room!r} at {_place(where.url)}", facts={"room": where.room, "url": _place(where.url)}
    )
    token = ""
    try:
        request = JoinRequest(
            where.room,
            access.display_name,
            access.role,
            access.token,
            access.api_key,
            access.url,
            dialect("B"),
            None,
            None,
        )
        endpoint = request.resolve(settings).endpoint
        token = endpoint.token()
    except MeshsyncError as error:
        origin = credential.name if credential else ""
        yield _fault("credential", error, advise("credential", error, origin), ExitCode.REFUSED)
        endpoint = Endpoint(where.url, lambda: "", ca_file=settings.get("EXTRA_CA_FILE"))
    if token and credential is not None:
        is_given = credential.name in TOKENS
        origin = credential.name if is_given else f"made from {credential.name}"
        now = current_world().runtime.wall()
        yield from check_token(
            token, origin, room=where.room, name=access.name, secret=secret if is_given else None, now=now
        )
    yield from _Examination(_Plan(where.room, endpoint, credential, address), bool(token), access.timeout).run()


def _sources(access: Access, environ: Mapping[str, str]) -> dict[str, list[Source]]:
    """Return where each thing may come from, in the order of ``connect``."""

    def variables(*names: str) -> list[Source]:
        return [Source(f"MESHAGENT_{name}", environ.get(f"MESHAGENT_{name}")) for name in names]

    return {
        "room": [Source("--room", access.room), *variables("ROOM")],
        "address": [
            Source("--url", None if access.is_emulator else access.url),
            *variables("ROOM_URL", "API_URL"),
            Source("the hosted service", DEFAULT_API_URL, is_default=True),
        ],
        "credential": [
            Source("--token", access.token),
            Source("--api-key", access.api_key),
            *variables("TOKEN", "API_KEY", "SECRET"),
        ],
        "project": variables("PROJECT_ID"),
        "key": variables("KEY_ID"),
        "certificates": variables("EXTRA_CA_FILE"),
    }


def _secret(groups: Mapping[str, list[Source]]) -> Source | None:
    """Return the secret that tokens may be signed with, as far as the configuration holds one."""
    for source in groups["credential"]:
        if source.value and source.name == "MESHAGENT_SECRET":
            return source
        if source.value and source.name.upper().endswith(("API-KEY", "API_KEY")):
            try:
                return Source(source.name, ApiKey.parse(source.value).secret)
            except MeshsyncError:
                continue
    return None


def _place(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _fault(step: str, error: Exception, advice: str, code: int | None = None, seconds: float | None = None) -> Finding:
    text = str(error).removesuffix(error.hint if isinstance(error, ConnectFailed) else "")
    return Finding(step, "failed", with_options(text), advice, seconds, exit_code(error) if code is None else code)


# --- the network and the room -----------------------------------------------------------------------------------------


class _Examination:
    """One attempt to join, its steps as they are done."""

    def __init__(self, plan: _Plan, has_token: bool, timeout: float | None) -> None:
        self._plan = plan
        self._has_token = has_token
        self._timeout = PATIENCE if timeout is None else timeout
        self._done: list[Finding] = []
        self._since = time.monotonic()

    def run(self) -> Iterator[Finding]:
        """Yield the steps that were done, and the one that failed."""
        parts = urlsplit(self._plan.endpoint.url)
        expected = ["lookup", "tcp", "http", "greeting", "enable"]
        if parts.scheme == "wss":
            expected.insert(2, "tls")
        try:
            port = parts.port or (443 if parts.scheme == "wss" else 80)
            proxy = find_proxy(parts.scheme, parts.hostname or "", port, os.environ)
        except ConnectFailed as error:
            yield _fault("proxy", error, advise("proxy", error, ""))
            return
        if proxy is not None:
            yield Finding("setting", "ok", f"proxy: {proxy.host}:{proxy.port}", facts={"of": "proxy"})
            expected.insert(2, "proxy")
        try:
            self._join()
        except MeshsyncError as error:
            yield from self._done
            done = [finding.step for finding in self._done]
            step = next(name for name in expected if name not in done)
            # The file of certificates is read before anything else.
            yield self._judge("certificates" if "cannot load certificates" in str(error) else step, error)
        else:
            yield from self._done

    def _join(self) -> None:
        runtime = current_world().runtime
        connector = WebSocketConnector(self._plan.endpoint, runtime, on_step=self._note)
        if not self._has_token:
            connector.connect(self._timeout).close(0)
            return
        with connect(connector=connector, timeout=self._timeout, reconnect=False) as room:
            self._note("greeting", f"{room.room_name!r}, as {room.local_participant.name!r}")
            room.messaging.enable(timeout=self._timeout)
            others = [other.name for other in room.messaging.remote_participants]
            self._note("enable", f"others there: {', '.join(others) or 'none'}")

    def _note(self, step: str, detail: str) -> None:
        self._done.append(Finding(step, "ok", detail, seconds=self._lap()))

    def _lap(self) -> float:
        now = time.monotonic()
        since, self._since = self._since, now
        return round(now - since, 6)

    def _judge(self, step: str, error: MeshsyncError) -> Finding:
        if step == "http" and not self._has_token and isinstance(error, (AuthenticationFailed, PermissionDenied)):
            detail = f"it answers; without a token, as it should, with {error.http_status}"
            return Finding("http", "ok", detail, seconds=self._lap())
        credential = self._plan.credential
        origin = self._plan.address.name
        if isinstance(error, (AuthenticationFailed, PermissionDenied)) and credential is not None:
            origin = credential.name
        return _fault(step, error, advise(step, error, origin), seconds=self._lap())
