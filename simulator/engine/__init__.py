"""Time, threads and chance of a simulation: a virtual clock, and actors of which exactly one runs."""

__engine__ = True
