"""Moves under kills of nodes and helpers, and cut links."""
