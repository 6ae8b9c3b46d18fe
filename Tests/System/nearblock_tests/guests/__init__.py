"""nearblock under the kernel's NBD client and under QEMU, in Debian guests."""
