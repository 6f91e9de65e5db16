"""The filters of subscription rules: a small SQL, and correlation.

    text ──lexer──> tokens ──parser──> tree ──evaluate(message)──> true, false or unknown

Source: Microsoft's "Subscription Rule SQL Filter Syntax". Actions (SET, REMOVE) are not provided.
"""
