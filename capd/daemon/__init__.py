"""The daemon: the only process with a config; it opens rings and looks after workers."""
