"""The application, without the triggers that start it."""

__version__ = "0.1.0"
