"""Portable waiting: locks, events, queues, semaphores and barriers that live in the world in which they are used."""
