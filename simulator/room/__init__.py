"""The other side of a conversation, sans-I/O: a room's rules, and one participant's connection to it."""
