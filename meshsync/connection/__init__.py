"""One connection as a client uses it: its requests, what is unacknowledged, and how it ends."""
