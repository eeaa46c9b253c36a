"""The route of events: subclass hooks, subscriptions, receivers."""
