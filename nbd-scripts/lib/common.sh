# shellcheck shell=bash
# What the scripts in nbd-scripts share. Source it; it runs nothing.

program=${0##*/}

# mkfs.ext4 and sfdisk stand in /usr/sbin, which a plain user's PATH lacks on Debian.
export PATH="$PATH:/usr/sbin:/sbin"

note() { printf '%s: %s\n' "$program" "$*" >&2; }

die() {
    note "$*"
    exit 1
}

# A mistake on the command line: exit status 2.
usage_error() {
    note "$*; see $program --help"
    exit 2
}

# name_of SCRIPT: what the neighbour of this script is called, with the prefix of this one: packages install
# nearblock-attach for attach.
name_of() {
    case $program in
        nearblock-*) printf 'nearblock-%s\n' "$1" ;;
        *) printf '%s\n' "$1" ;;
    esac
}

# The help of a script is the comment at its top, under the name by which it was called.
print_help() {
    own=$(basename "$(readlink -f "$0")")
    sed -n '2,/^$/s/^# \{0,1\}//p' "$0" | sed "1s|^$own|$program|"
}

# need_command NAME WHAT-TO-DO
need_command() { command -v "$1" >/dev/null || die "$1 is missing: $2"; }

cache_folder() { printf '%s\n' "${NEARBLOCK_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/nearblock}"; }
