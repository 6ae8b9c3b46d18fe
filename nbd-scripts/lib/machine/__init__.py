"""A guest that moves with its disks: what migrate-vm does with QEMU, libvirt and the nodes."""
