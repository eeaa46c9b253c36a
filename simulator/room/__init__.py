"""A room, sans-I/O: its rules, and one participant's connection to it."""
