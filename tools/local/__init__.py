"""The whole system on one machine: a Functions host, Azurite, Redis, and the command that runs them together."""
