"""Streams between two participants, however they are carried."""
