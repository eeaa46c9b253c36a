"""What happened in a simulated room, and pictures of it."""
