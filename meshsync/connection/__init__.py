"""One connection as a client uses it: its requests, their acknowledgements, and its end."""
