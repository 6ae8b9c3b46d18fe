"""Guests that move with migrate-vm, between two sites on this machine."""
