"""A capture directory against a plain model of it: whatever happens to it, in whatever order."""
