"""Benchmarks of migrations."""
