"""Moves and restarts between two builds of nearblock."""
