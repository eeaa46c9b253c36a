"""Conversations of a record said again: by scripted participants, or as a test of one of them."""
