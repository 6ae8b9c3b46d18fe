# shellcheck shell=sh disable=SC2034
# What attach, detach and block-nearblock share: the kernel's NBD devices, and what is written down of them. POSIX, for
# hosts with little on them. Source it behind common.sh; it runs nothing.

# Of each device attached by these scripts there is a file here, which names what attached it to the kernel, the process
# that keeps it attached or 0, and the target, one a line.
devices=/run/nearblock/devices

is_attached() { [ -e "/sys/block/$1/pid" ]; }

# read_record nbdN: sets keeper and target, where nobody else has attached the device since.
read_record() {
    [ -r "$devices/$1" ] && is_attached "$1" || return 1
    { read -r owner && read -r keeper && read -r target; } <"$devices/$1" || return 1
    [ "$owner" = "$(cat "/sys/block/$1/pid")" ]
}

# write_record nbdN KEEPER TARGET
write_record() { printf '%s\n' "$(cat "/sys/block/$1/pid")" "$2" "$3" >"$devices/$1"; }

is_keeper() { [ "$1" -gt 0 ] && [ "$(cat "/proc/$1/comm" 2>/dev/null)" = nbd-keep ]; }

# wait_until SECONDS COMMAND...
wait_until() {
    tries=$(($1 * 10))
    shift
    until "$@"; do
        tries=$((tries - 1))
        [ $tries -gt 0 ] || return 1
        sleep 0.1
    done
}

# lock_devices: nobody else attaches or detaches until this process ends. What it starts and leaves behind must close 9.
lock_devices() {
    mkdir -p "$devices"
    exec 9>"$devices/.lock"
    flock 9
}

# in_use nbdN: says by what the device or a partition of it is used, if it is.
in_use() {
    for folder in "/sys/block/$1" "/sys/block/$1/$1"p*; do
        [ -e "$folder/dev" ] || continue
        part=${folder##*/} number=$(cat "$folder/dev")
        # In whatever mount namespace.
        if grep -q "^[^ ]* [^ ]* $number " /proc/[0-9]*/mountinfo 2>/dev/null; then
            echo "/dev/$part is mounted"
        elif grep -q "^/dev/$part " /proc/swaps; then
            echo "/dev/$part is swapped to"
        elif [ -n "$(ls "$folder/holders")" ]; then
            echo "/dev/$part is part of $(ls "$folder/holders")"
        # Xen's back end opens it in the kernel.
        elif grep -qix "$(printf '%x:%x' "${number%:*}" "${number#*:}")" \
            /sys/bus/xen-backend/devices/*/physical_device 2>/dev/null; then
            echo "/dev/$part is the disk of a domain"
        else
            openers_of "$part"
        fi
    done | head -n 1
}

# openers_of nbdN: the processes that have it open, but nbd-client.
openers_of() {
    # The heading of each folder comes before its links.
    # shellcheck disable=SC2012  # find of BusyBox does not know where a link leads.
    ls -l /proc/[0-9]*/fd 2>/dev/null | awk -v "link=-> /dev/$1" '
        /^\/proc\// { split($0, words, "/"); process = words[3] }
        substr($0, length($0) - length(link) + 1) == link { print process }' | while read -r process; do
        name=$(cat "/proc/$process/comm" 2>/dev/null) || continue
        [ "$name" = nbd-client ] || echo "/dev/$1 is open in process $process ($name)"
    done
}
