"""Benchmarks of the NBD server."""
