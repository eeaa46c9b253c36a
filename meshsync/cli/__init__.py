"""The command ``meshsync``: rooms from a shell. ``import meshsync`` imports none of it."""
