"""Time, tasks and waiting: the interfaces, real threads behind them, and the classes built on both."""
