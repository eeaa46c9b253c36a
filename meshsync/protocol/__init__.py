"""The wire, sans-I/O: nothing here knows a clock, a thread or a socket."""
