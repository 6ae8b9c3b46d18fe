# shellcheck shell=bash
# What makes initial RAM disks for test guests. Source it; it runs nothing.

# install_program PATH ROOT: into ROOT/sbin, with the libraries that it needs.
install_program() {
    local library
    install -D "$1" "$2/sbin/${1##*/}"
    { ldd "$1" 2>/dev/null || true; } | grep -o '/[^ ]*' | while read -r library; do
        [[ -e $2$library ]] || install -D "$library" "$2$library"
    done
}

# pack_initrd ROOT: to standard output. A guest without KVM takes seconds to unpack what is compressed.
pack_initrd() { (cd "$1" && find . -print0 | cpio --null --create --format=newc --quiet); }
