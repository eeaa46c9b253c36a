"""The kinds of faults, each in a module of its own or of its family: the value, its effect, the function that makes it.

`simulator.faults` exports the functions; its docstring explains how to add a kind.
"""
