"""capd's tests: they drive the real kernel, real files and the real programs."""
