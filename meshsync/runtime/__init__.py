"""What gives time, tasks and waiting: the interfaces, real threads behind them, and what is built on both."""
