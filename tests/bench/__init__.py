"""The benchmark: capd and its peers over the same traffic.  See `tests/bench/__main__.py`."""
