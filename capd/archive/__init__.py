"""The archive process: indexes and compresses finished segments, salvages what a dead run left."""
