"""The kinds of faults, each in a module of its own or of its family: the value, what it does, what makes it.

The functions are handed on by `simulator.faults`, which says how to add a kind.
"""
