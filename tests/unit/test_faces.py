"""The faces of a client: when none is left, whether it goes on, and what a circle of garbage does."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator

import pytest

from meshsync.faces import Faces


class Face:
    """A face that leaves in its finalizer, as ours do."""

    def __init__(self, faces: Faces) -> None:
        self.faces = faces
        self.other: object = None
        faces.enter(self)

    def __del__(self) -> None:
        self.faces.leave(self)


class Watched:
    """Faces that are watched, what was told of them, and whether the client is needed."""

    def __init__(self) -> None:
        self.faces = Faces()
        self.is_needed = False
        self.dropped = 0

    def watch(self, sender: object) -> None:
        """Watch from now on."""
        self.faces.watch(sender, lambda: self.is_needed, self._note)

    def _note(self) -> None:
        self.dropped += 1


@pytest.fixture
def watched() -> Iterator[Watched]:
    """Return faces, none of which is there yet; garbage is collected only where a test asks for it."""
    gc.disable()
    yield Watched()
    gc.enable()


def test_last_face_that_goes_is_told_once(watched: Watched) -> None:
    """Of two, the first that goes changes nothing."""
    room, messaging = Face(watched.faces), Face(watched.faces)
    watched.watch(messaging)
    assert watched.faces.sender() is messaging
    del room
    assert watched.dropped == 0
    del messaging
    assert watched.dropped == 1
    Face(watched.faces)
    assert watched.dropped == 1


def test_faces_that_nobody_watches_may_go(watched: Watched) -> None:
    """As in a simulation, and before a client has joined."""
    Face(watched.faces)
    assert watched.dropped == 0
    assert watched.faces.sender() is None


def test_needed_client_keeps_its_last_face_until_it_is_not(watched: Watched) -> None:
    """Signals go on naming it as their sender; a review lets go of it when nothing needs it any more."""
    face = Face(watched.faces)
    watched.watch(face)
    watched.is_needed = True
    del face
    watched.faces.review()
    assert isinstance(watched.faces.sender(), Face)
    assert watched.dropped == 0
    watched.is_needed = False
    watched.faces.review()
    assert watched.faces.sender() is None
    assert watched.dropped == 1


def test_kept_face_that_the_program_has_again_is_not_dropped(watched: Watched) -> None:
    """A receiver of a signal may have kept the sender."""
    face = Face(watched.faces)
    watched.watch(face)
    watched.is_needed = True
    del face
    again = watched.faces.sender()
    watched.is_needed = False
    watched.faces.review()
    assert watched.dropped == 0
    assert watched.faces.sender() is again


@pytest.mark.parametrize("is_needed", [False, True])
def test_circle_of_garbage_is_dropped_or_kept_as_a_whole(watched: Watched, is_needed: bool) -> None:
    """Whichever finalizer runs first, the sender is there as long as the client is."""
    room, messaging = Face(watched.faces), Face(watched.faces)
    room.other, messaging.other = messaging, room
    watched.watch(messaging)
    watched.is_needed = is_needed
    del room, messaging
    gc.collect()
    assert watched.dropped == (not is_needed)
    sender = watched.faces.sender()
    assert (sender is not None) is is_needed


def test_review_without_a_kept_face_does_nothing(watched: Watched) -> None:
    """Each event that was dispatched asks for one."""
    face: Callable[[], object] = Face(watched.faces).__repr__
    watched.watch(face.__self__)  # type: ignore[attr-defined]
    watched.faces.review()
    assert watched.dropped == 0
