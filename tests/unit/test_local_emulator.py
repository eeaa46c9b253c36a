"""``connect(url="emulator")``: which emulator, with whose credentials, and again after a loss."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest

import meshsync
from meshsync.discovery import RunningEmulator
from meshsync.errors import AuthenticationFailed, RoomNotFound, RoomUnavailable, UsageError
from meshsync.local_emulator import EmulatorConnector
from meshsync.runtime.interfaces import Runtime
from meshsync.runtime.threads import ThreadRuntime
from meshsync.tokens import ApiKey, ParticipantToken
from meshsync.transport.interfaces import Connector, Endpoint
from meshsync.world import World, install_world
from tests.support.scripted import ScriptedConnector, ScriptedTransport

HOSTED_SECRET = "a secret that signs the tokens of the hosted service"
HOSTED = {
    "MESHAGENT_API_URL": "wss://hosted.test",
    "MESHAGENT_ROOM_URL": "wss://hosted.test/rooms/lab",
    "MESHAGENT_TOKEN": ParticipantToken.for_room("lab", "hosted").encode(HOSTED_SECRET),
    "MESHAGENT_API_KEY": str(ApiKey(str(UUID(int=1)), str(UUID(int=2)), HOSTED_SECRET)),
    "MESHAGENT_SECRET": HOSTED_SECRET,
    "MESHAGENT_PROJECT_ID": "hosted-project",
    "MESHAGENT_KEY_ID": "hosted-key",
    "MESHAGENT_EXTRA_CA_FILE": "/hosted.pem",
}


def emulator(port: int = 6374, secret: str = "a secret that signs tokens in these tests") -> RunningEmulator:
    """Return an emulator as it is found."""
    key = ApiKey("00000000-0000-4000-8000-000000000002", "00000000-0000-4000-8000-000000000001", secret)
    env = {
        "MESHAGENT_API_URL": f"http://127.0.0.1:{port}",
        "MESHAGENT_PROJECT_ID": key.project_id,
        "MESHAGENT_KEY_ID": key.key_id,
        "MESHAGENT_SECRET": secret,
        "MESHAGENT_API_KEY": str(key),
    }
    return RunningEmulator(f"ws://127.0.0.1:{port}", port, 1_000.0, env)


class Machine:
    """The real world without a network, with the emulators that a test starts."""

    def __init__(self) -> None:
        self.environ: dict[str, str] = {}
        self.running: list[RunningEmulator] = []
        self.looked = 0
        """How often emulators were looked for."""
        self.endpoints: list[Endpoint] = []
        """Where connections were made to."""
        self.world = World(ThreadRuntime(), self._connector, self.environ)

    def find(self) -> tuple[RunningEmulator, ...]:
        """Stand in for `meshsync.discovery.find_emulators`."""
        self.looked += 1
        return tuple(self.running)

    def _connector(self, endpoint: Endpoint, runtime: Runtime) -> Connector:
        self.endpoints.append(endpoint)
        return ScriptedConnector(ScriptedTransport())

    def join(self, room: str | None = "lab", **options: Any) -> Endpoint:
        """Connect and leave; return where to."""
        meshsync.connect(room, **({"url": "emulator", "name": "ada"} | options)).close(0)
        return self.endpoints[-1]


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    """Install a real world of the test's."""
    machine = Machine()
    monkeypatch.setattr(importlib.import_module("meshsync.connect"), "REAL_WORLD", machine.world)
    monkeypatch.setattr("meshsync.local_emulator.find_emulators", machine.find)
    install_world(machine.world)
    yield machine
    install_world(None)


# --- which, and as whom -----------------------------------------------------------------------------------------------


def test_running_emulator_is_joined_with_its_own_key(machine: Machine) -> None:
    """Name and role go into a token that is signed with its secret."""
    machine.running = [emulator()]
    endpoint = machine.join(role="agent")
    token = ParticipantToken.decode(endpoint.token(), machine.running[0].env["MESHAGENT_SECRET"], now=0)
    assert endpoint.url == "ws://127.0.0.1:6374/rooms/lab"
    assert (token.name, token.role, token.key_id) == ("ada", "agent", "00000000-0000-4000-8000-000000000002")


@pytest.mark.parametrize("variable", HOSTED)
def test_no_variable_for_the_hosted_service_reaches_an_emulator(machine: Machine, variable: str) -> None:
    """Neither its address nor any of its credentials, one by one."""
    machine.running = [emulator()]
    expected = machine.join()
    machine.environ[variable] = HOSTED[variable]
    endpoint = machine.join()
    assert (endpoint.url, endpoint.ca_file) == ("ws://127.0.0.1:6374/rooms/lab", None)
    assert endpoint.token() == expected.token()


def test_room_may_come_from_the_environment(machine: Machine) -> None:
    """Its name is no credential; but the room of an address is not asked for."""
    machine.running = [emulator()]
    machine.environ.update(HOSTED, MESHAGENT_ROOM="den")
    assert machine.join(None).url == "ws://127.0.0.1:6374/rooms/den"


def test_one_of_several_is_chosen_by_its_port(machine: Machine) -> None:
    """Without one the error lists them."""
    machine.running = [emulator(6374), emulator(6375)]
    assert machine.join(url="emulator:6375").url == "ws://127.0.0.1:6375/rooms/lab"
    with pytest.raises(UsageError, match=r"^2 emulators .*:6374 .*:6375 .* url=\"emulator:6374\""):
        machine.join()
    assert len(machine.endpoints) == 1


def test_none_may_come_later(machine: Machine) -> None:
    """So the error is one after which trying again makes sense; it says how to start one."""
    with pytest.raises(RoomUnavailable, match=r"one emulator .* there is none; 'python -m simulator serve'"):
        machine.join()
    machine.running = [emulator()]
    with pytest.raises(RoomUnavailable, match=r"emulator on port 1 .* there is ws://127.0.0.1:6374 \(process"):
        machine.join(url="emulator:1")


def test_emulator_that_starts_later_is_waited_for(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """With ``retry=True``, as for any room that cannot be reached."""

    def find() -> tuple[RunningEmulator, ...]:
        machine.looked += 1
        return (emulator(),) if machine.looked == 3 else ()

    monkeypatch.setattr("meshsync.local_emulator.find_emulators", find)
    monkeypatch.setattr(ThreadRuntime, "sleep", lambda runtime, seconds: None)
    assert machine.join(retry=True, timeout=30).url == "ws://127.0.0.1:6374/rooms/lab"


@pytest.mark.parametrize("credential", [{"token": "eyJ.x.y"}, {"token": lambda: "eyJ.x.y"}, {"api_key": "ma-1-2-3"}])
def test_credential_beside_it_makes_no_sense(machine: Machine, credential: dict[str, Any]) -> None:
    """It may be for the hosted service; the text does not show it."""
    machine.running = [emulator()]
    with pytest.raises(UsageError, match=r"leave out token= and api_key=") as caught:
        machine.join(**credential)
    assert (machine.endpoints, "eyJ" in str(caught.value), "ma-1" in str(caught.value)) == ([], False, False)


def test_arguments_are_judged_before_an_emulator_is_looked_for(machine: Machine) -> None:
    """A room without a name, one that cannot be, a participant without a name."""
    with pytest.raises(UsageError, match="no room to join"):
        machine.join(None)
    with pytest.raises(RoomNotFound, match="cannot be the name of a room"):
        machine.join("my room")
    with pytest.raises(UsageError, match="no name to join with"):
        machine.join(name=None)
    assert machine.looked == 0


@pytest.mark.parametrize("url", ["emulator:", "emulator:x", "emulator:123456", "emulators", "emulator/lab"])
def test_similar_addresses_are_none(machine: Machine, url: str) -> None:
    """They are refused as any other text."""
    machine.running = [emulator()]
    with pytest.raises(UsageError, match=f"not an address of a room service: {re.escape(repr(url))}"):
        machine.join(url=url)


# --- the hint ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ports", "hint"),
    [
        (
            (),
            "MESHAGENT_KEY_ID; for rooms on this machine, python -m simulator serve prints what to set",
        ),
        ((6374,), 'MESHAGENT_KEY_ID; an emulator runs at ws://127.0.0.1:6374: connect(url="emulator")'),
        (
            (6374, 6375),
            'MESHAGENT_KEY_ID; emulators run at ws://127.0.0.1:6374, ws://127.0.0.1:6375: connect(url="emulator:6374")',
        ),
    ],
)
def test_who_has_nothing_to_join_with_is_told_of_emulators(machine: Machine, ports: tuple[int, ...], hint: str) -> None:
    """At the end of the error that lists what was looked for."""
    machine.running = [emulator(port) for port in ports]
    with pytest.raises(AuthenticationFailed, match=r"nothing to join with") as caught:
        meshsync.connect("lab", name="ada")
    assert str(caught.value).endswith(hint)


def test_who_has_a_key_is_told_nothing(machine: Machine) -> None:
    """Nothing is looked for either."""
    machine.environ["MESHAGENT_API_KEY"] = HOSTED["MESHAGENT_API_KEY"]
    assert machine.join(url=None).url == "wss://api.meshagent.com/rooms/lab"
    assert machine.looked == 0


# --- again ------------------------------------------------------------------------------------------------------------


class Attempts:
    """Makes connections to emulators, and counts."""

    def __init__(self) -> None:
        self.found: list[RunningEmulator] = []

    def to(self, found: RunningEmulator) -> Connector:
        self.found.append(found)
        return ScriptedConnector(ScriptedTransport())


def test_restarted_emulator_is_found_at_its_new_address(machine: Machine) -> None:
    """With its new secret: each connection is made from what is found then."""
    attempts = Attempts()
    connector = EmulatorConnector(None, attempts.to)
    for port, secret in ((6374, "one secret"), (6375, "another secret")):
        machine.running = [emulator(port, secret)]
        connector.connect(1)
    assert [found.url for found in attempts.found] == ["ws://127.0.0.1:6374", "ws://127.0.0.1:6375"]
    assert attempts.found[1].env["MESHAGENT_SECRET"] == "another secret"


def test_emulator_that_a_client_was_in_is_preferred(machine: Machine) -> None:
    """Another one that was started meanwhile is no reason not to come back."""
    attempts = Attempts()
    connector = EmulatorConnector(None, attempts.to)
    machine.running = [emulator(6375)]
    connector.connect(1)
    machine.running = [emulator(6374), emulator(6375, "restarted")]
    connector.connect(1)
    assert attempts.found[1].env["MESHAGENT_SECRET"] == "restarted"


def test_several_strange_ones_are_waited_out(machine: Machine) -> None:
    """A client that comes back by itself cannot be asked which one; the attempt fails, the next one may not."""
    attempts = Attempts()
    connector = EmulatorConnector(None, attempts.to)
    machine.running = [emulator(6375)]
    connector.connect(1)
    machine.running = [emulator(6374), emulator(6376)]
    with pytest.raises(RoomUnavailable, match=r"one emulator of this user has to run .* there is ws.*:6374 .*:6376"):
        connector.connect(1)
    machine.running.pop()
    connector.connect(1)
    assert [found.port for found in attempts.found] == [6375, 6374]


# --- what it costs ----------------------------------------------------------------------------------------------------


def test_nothing_of_it_is_imported_before_it_is_asked_for() -> None:
    """Most programs join rooms elsewhere."""
    program = "import sys, meshsync\nassert not {'meshsync.discovery', 'meshsync.local_emulator'} & set(sys.modules)\n"
    subprocess.run([sys.executable, "-c", program], check=True)
