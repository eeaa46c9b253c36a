"""The records of a simulated room, and charts of them."""
