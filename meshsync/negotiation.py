"""Agreeing on filters: the name under which programs import ``meshsync.filters.negotiation``."""

from meshsync.filters.negotiation import accept_filtered, open_filtered

__all__ = ["accept_filtered", "open_filtered"]
