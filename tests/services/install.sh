# shellcheck shell=bash disable=SC2154
# Sourced by tests/services.sh: the packages that must be installed, and what is built or downloaded once and kept in the
# cache folder: Go programs, Azurite, and the tree of Debian unstable.

readonly minio_version=v0.0.0-20260212201848-7aac2a2c5b7c
readonly versitygw_version=v1.8.0
readonly fake_gcs_version=v1.56.1
readonly azurite_version=3.37.0
# The last one that writes append blobs on Azure, as all before it did.
readonly registry3_version=v3.1.1

readonly cache=${OCI_STORE_TEST_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/oci-store-tests}
readonly minio=$cache/bin/minio-${minio_version##*-}
readonly versitygw=$cache/bin/versitygw-$versitygw_version
readonly fake_gcs=$cache/bin/fake-gcs-server-$fake_gcs_version
readonly registry3=$cache/bin/registry-$registry3_version
readonly azurite=$cache/azurite-$azurite_version
readonly tree=$cache/debian-unstable

# --- packages ----------------------------------------------------------------------------------------------------------

# program:package, for what the tests and this script call
wanted_programs() {
    echo curl:curl ss:iproute2 ps:procps
    if has base; then
        echo docker:docker.io unpigz:pigz htpasswd:apache2-utils openssl:openssl sshd:openssh-server ssh:openssh-client time:time
        [[ -n ${OCI_STORE_TEST_DOCKER_HOST-} ]] || echo dockerd:docker.io containerd:docker.io iptables:iptables
        [[ -n ${OCI_STORE_TEST_REGISTRY-} ]] || echo docker-registry:docker-registry
        [[ -n ${OCI_STORE_TEST_SKOPEO-} ]] || echo skopeo:skopeo
    fi
    if starts far; then echo docker:docker.io dockerd:docker.io containerd:docker.io iptables:iptables ip:iproute2; fi
    if starts unstable && ! tree_is_whole; then echo debootstrap:debootstrap; fi
}

missing_packages() {
    local pair
    for pair in $(wanted_programs); do
        type -P "${pair%:*}" >/dev/null || echo "${pair#*:}"
    done | sort -u
    [[ -s /etc/ssl/certs/ca-certificates.crt ]] || echo ca-certificates
}

install_packages() {
    local packages
    mapfile -t packages < <(missing_packages)
    ((${#packages[@]})) || return 0
    type -P apt-get >/dev/null || die "missing, and no apt-get to install it: ${packages[*]}"
    log=$dir/log/apt.log
    step "installing ${packages[*]}"
    hold_services
    {
        apt-get update
        # since Debian 13 docker.io no longer contains the client
        if [[ " ${packages[*]} " == *' docker.io '* ]] && apt-cache show docker-cli >/dev/null 2>&1; then
            packages+=(docker-cli)
        fi
        DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends -o DPkg::Lock::Timeout=300 "${packages[@]}"
    } >"$log" 2>&1 </dev/null
    release_services
    mapfile -t packages < <(missing_packages)
    ((${#packages[@]} == 0)) || die "still missing after apt-get install: ${packages[*]}"
    step "installed"
}

# Debian starts what it installs; these packages' own daemons would only be in the way.
readonly policy=/usr/sbin/policy-rc.d
policy_is_ours=
hold_services() {
    [[ ! -e $policy ]] || return 0
    policy_is_ours=yes
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod +x "$policy"
}
release_services() {
    [[ -z $policy_is_ours ]] || rm -f "$policy"
    policy_is_ours=
}

# --- the cache ---------------------------------------------------------------------------------------------------------

declare -A building=() # name → pid, and process group, of what is being built in the background

# begin NAME LOCK WHOLE BUILD… has a thing built in the background by `BUILD…` unless the command WHOLE says that it is there.
# Of those with the same LOCK one is built at a time, among all who share the cache.
begin() {
    local name=$1 lock=$2 whole=$3
    shift 3
    ! "$whole" || return 0
    mkdir -p "$cache/bin"
    step "begins: $name"
    set -m # its own process group, to be ended as a whole
    (
        exec </dev/null >"$dir/log/build-$name.log" 2>&1 9>"$cache/$lock.lock"
        flock 9
        SECONDS=0
        if ! "$whole"; then "$@" 9>&-; fi
        echo "$SECONDS" >"$dir/log/build-$name.took"
    ) &
    building[$name]=$!
    set +m
}

# await NAME HINT waits for what `begin` began.
await() {
    [[ -n ${building[$1]-} ]] || return 0
    log=$dir/log/build-$1.log
    wait "${building[$1]}" || die "$1 could not be made: $2"
    unset "building[$1]"
    step "is made: $1 (took $(<"$dir/log/build-$1.took") s)"
}

end_builds() {
    local pid
    for pid in "${building[@]}"; do
        kill -TERM -- "-$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true
    done
    building=()
}

go_is_missing() { ! type -P go >/dev/null; }
go_hint() { echo "needs Go 1.25 or newer, this is: $(go version 2>&1)"; }

# go_install RESULT PACKAGE@VERSION
go_install() {
    # Go's own caches where there are some, else ours
    [[ -n ${GOCACHE-} || -d $(go env GOCACHE) ]] || export GOCACHE=$cache/go/build
    [[ -n ${GOPATH-} || -d $(go env GOMODCACHE) ]] || export GOPATH=$cache/go
    rm -rf "$1.new"
    mkdir -p "$1.new/tmp"
    GOBIN=$1.new/bin GOTMPDIR=$1.new/tmp go install "$2"
    mv "$1.new/bin"/* "$1"
    rm -r "$1.new"
}

# MinIO publishes no binaries any more, and the others none that apt has.
minio_is_whole() { [[ -x $minio ]]; }
versitygw_is_whole() { [[ -x $versitygw ]]; }
fake_gcs_is_whole() { [[ -x $fake_gcs ]]; }
registry3_is_whole() { [[ -x $registry3 ]]; }
begin_minio() { begin minio go minio_is_whole go_install "$minio" "github.com/minio/minio@$minio_version"; }
begin_versitygw() {
    begin versitygw go versitygw_is_whole go_install "$versitygw" "github.com/versity/versitygw/cmd/versitygw@$versitygw_version"
}
begin_fake_gcs() {
    begin fake-gcs go fake_gcs_is_whole go_install "$fake_gcs" "github.com/fsouza/fake-gcs-server@$fake_gcs_version"
}
begin_registry3() {
    begin registry3 go registry3_is_whole go_install "$registry3" \
        "github.com/distribution/distribution/v3/cmd/registry@$registry3_version"
}

azurite_is_whole() { [[ -s $azurite/node_modules/azurite/dist/src/blob/main.js ]]; }
begin_azurite() { begin azurite azurite azurite_is_whole install_azurite; }
install_azurite() {
    rm -rf "$azurite" "$azurite.new"
    mkdir -p "$azurite.new"
    npm install --prefix "$azurite.new" --no-save --no-audit --no-fund --ignore-scripts "azurite@$azurite_version"
    mv "$azurite.new" "$azurite"
}

tree_is_whole() {
    local program
    for program in sbin/dockerd bin/{containerd,podman,skopeo,crane,oras,umoci}; do
        [[ -x $tree/usr/$program ]] || return 1
    done
}
begin_tree() { begin debian-unstable debian-unstable tree_is_whole make_tree; }

# In a mount namespace of its own: what debootstrap mounts goes with it, however it ends.
make_tree() {
    local mirror
    mirror=$(debian_mirror)
    rm -rf --one-file-system "$tree" "$tree.new"
    unshare --mount --propagation private debootstrap --variant=minbase \
        --include=docker.io,ca-certificates,iptables,skopeo,podman,crane,oras,umoci sid "$tree.new" "$mirror"
    rm -f "$tree.new"/var/cache/apt/archives/*.deb
    mv "$tree.new" "$tree"
    tree_is_whole
}

# The mirror is the one that this machine's apt takes Debian from.
debian_mirror() {
    local mirrors=()
    if [[ -n ${OCI_STORE_TEST_DEBIAN_MIRROR-} ]]; then
        echo "$OCI_STORE_TEST_DEBIAN_MIRROR"
        return
    fi
    mapfile -t mirrors < <(apt_mirrors)
    if ((${#mirrors[@]} == 0)); then
        apt-get update >&2
        mapfile -t mirrors < <(apt_mirrors)
    fi
    ((${#mirrors[@]})) || die "apt knows no Debian mirror; name one in OCI_STORE_TEST_DEBIAN_MIRROR"
    echo "${mirrors[0]}"
}
# shellcheck disable=SC2016 # apt's own placeholder
apt_mirrors() { apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' 'Label: Debian'; }
