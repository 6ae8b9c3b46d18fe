# shellcheck shell=bash
# What the scripts in nbd-scripts/targets share. Source it after common.sh; it runs nothing.

# parse_target ARGUMENT...: sets the values of the array `option`, which has the script's options as keys, and `action`.
parse_target() {
    action=
    while [[ $# -gt 0 ]]; do
        case $1 in
            -h | --help)
                print_help
                exit 0
                ;;
            --*)
                local name=${1#--}
                [[ -v option[$name] ]] || usage_error "there is no option '$1'"
                [[ $# -gt 1 && -n $2 ]] || usage_error "$1 needs a value"
                option["$name"]=$2
                shift
                ;;
            prepare | release)
                [[ -z $action ]] || usage_error "give one of prepare and release"
                action=$1
                ;;
            *) usage_error "'$1' is neither prepare nor release" ;;
        esac
        shift
    done
    [[ -n $action ]] || usage_error "give prepare or release"
}

# needs_option NAME...
needs_option() {
    local name
    for name in "$@"; do [[ -n ${option[$name]} ]] || usage_error "--$name is missing"; done
}

# matches TEXT PATTERN: whether an extended regular expression matches the whole text, in ASCII.
matches() {
    local LC_ALL=C
    [[ $1 =~ ^($2)$ ]]
}

# is_count TEXT: whether it is a number that bash can count with, below 2^60.
is_count() { matches "$1" '0|[1-9][0-9]{0,17}'; }

# read_request: sets name, size, used and arrival from what nearblock has put into the environment, or refuses.
read_request() {
    name=${NEARBLOCK_EXPORT-} size=${NEARBLOCK_SIZE-} arrival=${NEARBLOCK_ARRIVAL-}
    used=${NEARBLOCK_USED:-$size}
    matches "$name" '[A-Za-z0-9_][A-Za-z0-9_.+-]{0,126}' ||
        die "the export's name must be of 1 to 127 letters, digits and _ . + -, and begin with none of the last three: rename it at the source"
    { is_count "$size" && ((size > 0)); } || die "the disk's size is no number of bytes: is NEARBLOCK_SIZE set?"
    is_count "$used" || die "the disk's used bytes are no number: is NEARBLOCK_USED right?"
    matches "$arrival" '[0-9a-f]{32}' || die "NEARBLOCK_ARRIVAL is not 32 hexadecimal digits"
}

# needs_room FREE PLACE: refuses if fewer bytes are free than the disk has of data.
needs_room() {
    is_count "$1" || die "$2 does not say how much is free"
    (($1 >= used)) || die "$2 has $1 bytes free, and $name needs $used"
}

# exists_already PLACE: refuses a place that was not made for this arrival.
exists_already() {
    die "$1 exists already, and was not made for this migration: rename it, or give the export another name at the source"
}
