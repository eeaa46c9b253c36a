"""All races of the bench, by name."""

from __future__ import annotations

from tests.benchmarks.races import (
    broadcast_before_direct,
    cache_filled_twice,
    cancelled_too_late,
    cleaned_up,
    close_against_send,
    deaf_question,
    double_accept,
    double_booking,
    double_work,
    expired_lease,
    forgotten_duplicate,
    half_a_file,
    late_receiver,
    late_reply,
    list_then_watch,
    lost_update,
    lowest_name,
    next_round,
    old_snapshot,
    presence_for_readiness,
    remote_counter,
    shutdown_during_job,
    split_brain,
    stale_attributes,
    stale_roster,
    stream_before_enable,
    torn_attributes,
    two_senders,
    two_timers,
    watermark,
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
    broadcast_before_direct,
    remote_counter,
    deaf_question,
    double_accept,
    cleaned_up,
    watermark,
    old_snapshot,
    torn_attributes,
    next_round,
    two_timers,
    cancelled_too_late,
    list_then_watch,
    forgotten_duplicate,
)

RACES: dict[str, Race] = {race.name: race for race in (module.RACE for module in _MODULES)}
