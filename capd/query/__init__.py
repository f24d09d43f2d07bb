"""Questions to the segments on the disk: which there are, and whether they are whole."""
