"""Hosts of one site, on a LAN of network namespaces, and a source behind a WAN."""
