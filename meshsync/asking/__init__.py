"""Questions and their answers: what a client asks, and what it is asked."""
