"""To list and then watch: what is added in between is neither listed nor seen."""

from __future__ import annotations

from collections.abc import Callable

import meshsync
from meshsync import MessagingClient, RemoteParticipant, RoomMessageEvent
from simulator.simulation import Simulation
from tests.benchmarks.races.race import LateStep, Planted, Race

Show = Callable[[str], None]


def list_articles(messaging: MessagingClient, editor: RemoteParticipant, show: Show) -> None:
    """Show the articles that there are."""
    with messaging.messages("articles") as answers:
        messaging.send_message(editor, "articles?", {})
        for title in answers.get().message["titles"]:
            show(title)


def draw() -> None:
    """Draw the page."""
    meshsync.sleep(0.06)


def follow(messaging: MessagingClient, editor: RemoteParticipant, show: Show) -> None:
    """The bug: it watches from after the list on."""
    list_articles(messaging, editor, show)
    draw()
    messaging.on_message("added", lambda event: show(event.message.message["title"]))


def follow_all(messaging: MessagingClient, editor: RemoteParticipant, show: Show) -> None:
    """Watch first; what is listed and seen is shown once."""
    messaging.on_message("added", lambda event: show(event.message.message["title"]))
    list_articles(messaging, editor, show)
    draw()


def paper(sim: Simulation, read: Callable[[MessagingClient, RemoteParticipant, Show], None]) -> None:
    """An editor adds an article 0.7 s after a reader asked for the list, and another one 1 s later."""
    editor = sim.room("paper").join("editor", enable=True)
    titles = ["the weather"]

    @editor.messaging.on_message("articles?")
    def answer(event: RoomMessageEvent) -> None:
        assert event.participant is not None
        editor.messaging.send_message(event.participant, "articles", {"titles": list(titles)})

    def reader() -> None:
        with meshsync.connect("paper", name="reader") as client:
            shown: set[str] = set()
            printed = meshsync.condition()
            is_printed = False

            @client.messaging.on_message("printed")  # A receiver as well: it is called behind the others.
            def end(event: RoomMessageEvent) -> None:
                nonlocal is_printed
                with printed:
                    is_printed = True
                    printed.notify_all()

            client.messaging.enable()
            peer = client.messaging.wait_for_participant(name="editor")
            read(client.messaging, peer, shown.add)
            with printed:
                printed.wait_for(lambda: is_printed)
            assert shown == {"the weather", "the match"}, f"shown: {sorted(shown)}"

    with editor.messaging.messages("articles?") as questions:
        task = sim.spawn(reader)
        questions.get()
    meshsync.sleep(0.7)
    titles.append("the match")
    editor.messaging.broadcast_message("added", {"title": "the match"})
    editor.messaging.broadcast_message("printed", {})
    task.join()


def racy(sim: Simulation) -> None:
    """A reader who lists and watches."""
    paper(sim, follow)


def repaired(sim: Simulation) -> None:
    """A reader who watches and lists."""
    paper(sim, follow_all)


RACE = Race(
    racy,
    repaired,
    Planted("ActorFailed: AssertionError", "reader", 'assert shown == {"the weather", "the match"}'),
    LateStep("reader", "meshsync.sleep(0.06)", 0.9),
)
