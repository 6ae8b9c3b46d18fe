"""The Debian package: installed and used in a root without Swift, under a systemd of its own."""
