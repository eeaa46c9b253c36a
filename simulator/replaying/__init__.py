"""Conversations of a record said again: by scripted participants, or as a test of one of them."""

from __future__ import annotations

from simulator.replaying.steps import Id, Step
from simulator.replaying.testing import check_subject

__all__ = ["Id", "Step", "check_subject"]
