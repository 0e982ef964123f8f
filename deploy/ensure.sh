# shellcheck shell=bash
# The packages that a machine needs before cargo can build, test or run cvsync. Source this file: `ensure cc postgres` installs
# missing packages with apt-get. If it cannot, it names them and fails.

if ! command -v cargo >/dev/null && [ -f "${CARGO_HOME:-${HOME:-/root}/.cargo}/env" ]; then
    # shellcheck source=/dev/null
    . "${CARGO_HOME:-${HOME:-/root}/.cargo}/env"
fi

ensure() {
    local tool packages=() missing=()
    if ! command -v cargo >/dev/null; then
        echo "Rust is missing: install 1.95 or newer, see rustup.rs" >&2
        return 1
    fi
    for tool in "$@"; do
        "has_$tool" || { missing+=("$tool"); mapfile -t -O "${#packages[@]}" packages < <("packages_of_$tool"); }
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    echo "missing: ${missing[*]}; installing ${packages[*]}" >&2
    install_packages "${packages[@]}" || true
    for tool in "${missing[@]}"; do
        if ! "has_$tool"; then
            echo "$tool is missing and could not be installed; on Debian or Ubuntu: apt-get install $("packages_of_$tool" | xargs)" >&2
            return 1
        fi
    done
}

# The TLS library aws-lc is written in C.
has_cc() { command -v cc >/dev/null; }
packages_of_cc() { printf '%s\n' gcc libc6-dev; }

has_postgres() { compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || command -v initdb >/dev/null; }
packages_of_postgres() { echo postgresql; }

has_pgbouncer() { PATH=$PATH:/usr/sbin command -v pgbouncer >/dev/null; }
packages_of_pgbouncer() { echo pgbouncer; }

# The tests use it to sign certificates and to run TLS servers.
has_openssl() { command -v openssl >/dev/null; }
packages_of_openssl() { echo openssl; }

has_chromium() { command -v chromium >/dev/null && command -v chromedriver >/dev/null; }
packages_of_chromium() { printf '%s\n' chromium chromium-driver; }

# Fetches axe, which checks the accessibility of the status page.
has_npm() { command -v npm >/dev/null; }
packages_of_npm() { echo npm; }

install_packages() {
    local root=()
    command -v apt-get >/dev/null || return 1
    if [ "$(id -u)" != 0 ]; then
        sudo -n true 2>/dev/null || return 1
        root=(sudo -n)
    fi
    local apt=("${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0)
    "${apt[@]}" update >&2 || return 1
    if [[ " $* " == *" postgresql "* ]]; then
        install_without_cluster "$@"
        return
    fi
    "${apt[@]}" install -y --no-install-recommends "$@" >&2
}

# Installs PostgreSQL's programs without a cluster that starts with the machine. Debian has a setting for that, which gets its
# previous value back.
install_without_cluster() {
    local conf=/etc/postgresql-common/createcluster.conf status=0
    "${apt[@]}" install -y --no-install-recommends postgresql-common >&2 || return 1
    "${root[@]}" cp -p "$conf" "$conf.before-cvsync"
    "${root[@]}" sed -i 's/^#\?create_main_cluster *=.*/create_main_cluster = false/' "$conf"
    "${apt[@]}" install -y --no-install-recommends "$@" >&2 || status=$?
    "${root[@]}" mv "$conf.before-cvsync" "$conf"
    echo "installed PostgreSQL without a cluster; create_main_cluster in $conf is as before" >&2
    return $status
}

cache=${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/cvsync-check

# Makes a program available without installing it: unpacks its Debian package into a cache and adds that to the path. An installed
# Prometheus, for example, would start with the machine.
unpacked() {
    local program=$1 package=$2 folder=$cache/$2
    PATH=$PATH:$folder/usr/bin
    ! command -v "$program" >/dev/null || return 0
    command -v apt-get >/dev/null || return 1
    echo "$program is missing: unpacking Debian's package $package into $folder" >&2
    mkdir -p "$folder"
    (
        cd "$folder" || exit 1
        apt-get -qq download "$package" 2>/dev/null || { apt-get -qq update && apt-get -qq download "$package"; } || exit 1
        dpkg-deb -x "$package"_*.deb . && rm -f "$package"_*.deb
    ) >&2
    command -v "$program" >/dev/null
}

# Makes a program available without installing it: builds its crate into a cache and adds that to the path.
built() {
    local crate=$1 version=$2 folder=$cache/$1-$2
    PATH=$PATH:$folder/bin
    ! command -v "$crate" >/dev/null || return 0
    echo "$crate is missing: building version $version into $folder" >&2
    cargo install --quiet --locked --root "$folder" "$crate@$version" >&2
}
