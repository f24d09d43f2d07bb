"""Questions to the disk: which segments there are, whether they are whole, what was lost."""
