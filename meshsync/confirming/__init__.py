"""Confirmed messages between two clients of this package, sans-I/O: who is who, numbers, and what was handled."""
