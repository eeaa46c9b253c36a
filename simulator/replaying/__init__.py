"""Conversations of a record said again: by scripted participants, or as a test of one of them."""

from __future__ import annotations

from simulator.replaying.steps import Id, Said, Step
from simulator.replaying.testing import check_subject

__all__ = ["Id", "Said", "Step", "check_subject"]
