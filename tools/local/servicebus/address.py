"""Where the broker of this machine is, and how the SDK is told."""

LOOPBACK = "127.0.0.1"
DEFAULT_PORT = 5672


def connection_string(port: int) -> str:
    """For the broker on that port of this machine. The key protects nothing: the broker believes every token."""
    return (
        f"Endpoint=sb://{LOOPBACK}:{port};SharedAccessKeyName=RootManageSharedAccessKey;"
        "SharedAccessKey=SAS_KEY_VALUE;UseDevelopmentEmulator=true;"
    )
