"""Metrics by a real Prometheus, the block map in a real browser, and lines of the log."""
