"""Where what arrives goes: subclass hooks, subscriptions, receivers."""
