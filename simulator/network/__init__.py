"""The network of a simulation: links with latency and bandwidth, and connections over them."""
