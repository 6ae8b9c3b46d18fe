# shellcheck shell=bash
# What the scripts for LVM in nbd-scripts/targets share: how a volume is found, told from others, and removed. Source it after
# target.sh; it runs nothing. The script has a function make_volume.
# target.sh sets what is not set here.
# shellcheck disable=SC2154

is_word() { matches "$1" '[A-Za-z0-9_.+][A-Za-z0-9_.+-]{0,126}' && [[ $1 != . && $1 != .. ]]; }

# set_volume GROUP
set_volume() {
    group=$1 volume=${option[prefix]}$name tag=nearblock.arrival.$arrival
    need_command lvs "install lvm2"
    is_word "$group" || die "'$group' is no name of a volume group"
    is_word "$volume" || die "'$volume' is no name of a volume"
    vgs "$group" >/dev/null 2>&1 || die "there is no volume group $group"
}

# field COMMAND FIELD NAME [OPTION...]: one value of lvs or vgs, without blanks.
field() {
    local command=$1 what=$2 of=$3
    shift 3
    "$command" --noheadings -o "$what" "$@" "$of" 2>/dev/null | tr -d ' '
}

volume_exists() { lvs "$group/$volume" >/dev/null 2>&1; }

is_ours() { [[ ,$(field lvs lv_tags "$group/$volume"), == *,$tag,* ]]; }

prepare_volume() {
    if volume_exists; then
        is_ours || exists_already "$group/$volume"
        lvchange --yes --quiet --activate y "$group/$volume" >&2 || die "$group/$volume can't be activated"
    else
        make_volume || die "LVM can't make $group/$volume"
    fi
    local bytes
    bytes=$(field lvs lv_size "$group/$volume" --units b --nosuffix)
    ((bytes >= size)) || die "$group/$volume has $bytes bytes, and the disk $size"
    printf '/dev/%s/%s\n' "$group" "$volume"
}

release_volume() {
    # Nothing to release is no error: the node may ask twice.
    volume_exists && is_ours || return 0
    # nearblock has closed it; udev may look at it a moment longer.
    for _ in {1..20}; do
        [[ $(field lvs lv_device_open "$group/$volume") == open ]] || break
        sleep 0.2
    done
    [[ $(field lvs lv_device_open "$group/$volume") != open ]] || die "$group/$volume is in use, and stays"
    lvremove --yes --quiet "$group/$volume" >&2 || die "LVM can't remove $group/$volume"
}
