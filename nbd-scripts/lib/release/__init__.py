"""Builds the Debian package and the release tarball; nbd-scripts/package is its command."""
