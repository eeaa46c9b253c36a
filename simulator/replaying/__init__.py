"""Conversations of a record replayed: by scripted participants, or as a test of one of them."""

from __future__ import annotations

from simulator.replaying.steps import Id, Sent, Step
from simulator.replaying.testing import check_subject

__all__ = ["Id", "Sent", "Step", "check_subject"]
