"""The worker: ring, packets, segments.  It knows no config and needs no privilege."""
