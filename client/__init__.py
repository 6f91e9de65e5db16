"""The command `strata`: what runs on people's machines.

It shares the server's words and rules (shared.domain: how a file is cut, which names are refused) and none of
its parts; everything else it knows of the server is the HTTP interface.
"""
