"""`capd metrics`: the status file as Prometheus wants it, over HTTP.

A process of its own, because capd.service has no business with the network.  It knows what the
status file says and nothing else; what the numbers mean is decided where they are counted.
"""
