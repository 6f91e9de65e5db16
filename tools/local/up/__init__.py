"""`make start`: the whole system on one machine, and all of it gone again after Ctrl-C.

    ports free? ─> Azurite installed ─> Azurite, Redis, Service Bus ─> migrate, reconcile ─> host ─> "ready"
                                                                                              │
    "stopped" <── Azurite <── Redis <── Service Bus <── host <──── Ctrl-C, SIGTERM, or a part that died

Everything that it makes lies in one folder, `.local` (STRATA_LOCAL_DIR): data, logs, and the two secrets, which are
made once, so that sign-ins survive a restart.
"""
