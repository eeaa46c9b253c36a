"""Simulations by the hundred: each costs little enough for Hypothesis to open one for every example."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from simulator import Simulation, latency
from tests.support.effort import calls_of
from tests.support.profiles import examples

COUNTS = st.lists(st.sampled_from(["alice", "bob"]), max_size=8)
LAWS = st.one_of(
    st.builds(latency.constant, st.floats(0, 1)),
    st.builds(latency.exponential, st.floats(0.001, 0.2)),
    st.builds(latency.lognormal, st.floats(0.001, 0.2), st.floats(0, 0.5)),
)


@examples(200)
@given(seed=st.integers(), law=LAWS, schedule=st.sampled_from(["fifo", "random", "pct"]), senders=COUNTS)
def test_messages_of_each_sender_arrive_once_and_in_order(seed, law, schedule, senders):
    """Whatever the delays, the schedule and who sends when."""
    with Simulation(seed, latency=law, schedule=schedule) as sim:
        room = sim.room("demo")
        clients = {name: room.join(name, enable=True) for name in ("carol", "alice", "bob")}
        carol = clients.pop("carol")
        with carol.messaging.messages("count") as received:
            for client in clients.values():
                client.messaging.wait_for_participant(name="carol")
            for number, name in enumerate(senders):
                clients[name].messaging.send_message_nowait(
                    to=carol.local_participant, type="count", message={"number": number}
                )
            got = [received.get() for _ in senders]
    for name in clients:
        numbers = [message.message["number"] for message in got if message.sender.name == name]
        assert numbers == [number for number, sender in enumerate(senders) if sender == name]


def test_empty_simulation_costs_few_calls():
    """To open and to close one takes some 400 calls of Python, and five for each module that has imported a wait.

    In a process of many tests that have done so these are 200 modules.
    """

    def open_and_close():
        with Simulation():
            pass

    open_and_close()  # what is imported or made once is no concern of the next
    assert calls_of(open_and_close) < 2500
