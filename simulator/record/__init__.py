"""What happened in a simulated room, and pictures of it."""

from simulator.record import charts as charts  # importing it lets transcripts draw themselves
