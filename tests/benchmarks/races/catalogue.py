"""All races of the bench, by name."""

from __future__ import annotations

from tests.benchmarks.races import (
    cache_filled_twice,
    close_against_send,
    double_booking,
    double_work,
    expired_lease,
    half_a_file,
    late_receiver,
    late_reply,
    lost_update,
    lowest_name,
    presence_for_readiness,
    shutdown_during_job,
    split_brain,
    stale_attributes,
    stale_roster,
    stream_before_enable,
    two_senders,
)
from tests.benchmarks.races.race import Race

__all__ = ["RACES"]

_MODULES = (
    lost_update,
    double_booking,
    stale_roster,
    stale_attributes,
    double_work,
    late_reply,
    close_against_send,
    late_receiver,
    stream_before_enable,
    two_senders,
    expired_lease,
    split_brain,
    half_a_file,
    lowest_name,
    presence_for_readiness,
    cache_filled_twice,
    shutdown_during_job,
)

RACES: dict[str, Race] = {race.name: race for race in (module.RACE for module in _MODULES)}
