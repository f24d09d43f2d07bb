"""Tuning: what the kernel and NICs are set to for capture, shown, applied, and put back.

A process of its own, `capd tune`, because it is the only one that needs CAP_NET_ADMIN; it ends
when it is done.  Nothing else in capd depends on it.
"""
