"""The network of a simulation: how long things take, what goes wrong, and connections over both."""
