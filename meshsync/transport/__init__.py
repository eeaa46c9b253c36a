"""One live connection that carries packets: the interface, and WebSockets behind it."""
