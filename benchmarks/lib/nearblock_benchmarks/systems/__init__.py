"""Disks of systems with a history."""
