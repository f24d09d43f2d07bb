"""`capd exec`: running the commands of the config for the events that the daemon leaves."""
