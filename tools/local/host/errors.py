"""What can be wrong before anything runs: one class, since every case ends the same way, at start, in words."""


class HostError(Exception):
    """The app, host.json or a setting can't be used; the message says where and what to change."""
