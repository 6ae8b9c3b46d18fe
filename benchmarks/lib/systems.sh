# shellcheck shell=bash
# Eleven systems as one would find them on a site, each a real Debian install on a disk of its own, made by make-disk
# and kept in the cache folder. Source it after common.sh.

systems_folder=$(cache_folder)/systems

# One line a system: name, size of the disk, Debian release, packages beyond a plain install.
systems_table() {
    cat <<'END'
plain-11     3G  bullseye  -
plain-12     3G  bookworm  -
plain-13     3G  trixie    -
web-11       3G  bullseye  apache2,libapache2-mod-php,php-mysql
web-12       3G  bookworm  apache2,libapache2-mod-php,php-mysql
web-13       3G  trixie    nginx,php-fpm,php-mysql
postgres-12  3G  bookworm  postgresql
mariadb-12   3G  bookworm  mariadb-server
mail-12      3G  bookworm  postfix,dovecot-imapd,spamassassin,redis-server
judge-12     4G  bookworm  build-essential,default-jdk-headless,python3-numpy,fp-compiler
desktop-12   5G  bookworm  xfce4,xorg,firefox-esr,evince,mousepad
END
}

# make_system NAME SIZE RELEASE PACKAGES SEED: makes it unless it is there.
make_system() {
    local image=$systems_folder/$1.raw include=()
    [[ ! -e $image ]] || return 0
    [[ $4 == - ]] || include=(--include "$4")
    "${MAKE_DISK:-$repository/nbd-scripts/make-disk}" "$image" --size "$2" --suite "$3" "${include[@]}" --seed "$5"
}

# Makes those that are missing: the first time that takes some minutes and gigabytes.
make_systems() {
    local seed=100 name size release packages
    mkdir -p "$systems_folder"
    while read -r name size release packages <&3; do
        seed=$((seed + 1))
        make_system "$name" "$size" "$release" "$packages" "$seed"
    done 3< <(systems_table)
}

# One line a system with a history: name, kind (see make-history), and the system that it is made of.
histories_table() {
    cat <<'END'
shifted-12       shifted    plain-12
upgraded-13      upgraded   plain-12
aged-web-12      web        web-11
aged-desktop-12  desktop    desktop-12
ntfs-4096        ntfs-4096  desktop-12
ntfs-512         ntfs-512   desktop-12
END
}

# Makes those that are missing, and the systems that they are made of. As root.
make_histories() {
    local name kind base
    make_systems
    while read -r name kind base <&3; do
        [[ -e $systems_folder/$name.raw ]] ||
            "$repository/benchmarks/lib/make-history" "$kind" "$systems_folder/$base.raw" "$systems_folder/$name.raw"
    done 3< <(histories_table)
}

# Prints the image of each, in the order of the table.
history_images() {
    local name
    while read -r name _; do printf '%s\n' "$systems_folder/$name.raw"; done < <(histories_table)
}

# Prints the image of each of the eleven, in the order of the table.
system_images() {
    local name
    while read -r name _; do printf '%s\n' "$systems_folder/$name.raw"; done < <(systems_table)
}
