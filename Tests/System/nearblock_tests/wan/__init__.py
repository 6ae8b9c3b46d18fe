"""An emulated WAN between two network namespaces."""
