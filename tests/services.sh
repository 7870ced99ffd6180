#!/usr/bin/env bash
# The real parts the tests talk to, all on loopback: Docker daemons, podman, object stores, and programs that the tests start
# themselves. Debian or Ubuntu, as root.
#
#   tests/services.sh up DIR      install what is missing, start, and write DIR/env (to be sourced)
#   tests/services.sh down DIR    stop what `up` started; `rm -rf DIR` works afterwards
#
# OCI_STORE_TEST_GROUPS says what is started, as a list with commas; without it everything is:
#   base      a Docker daemon with the classic image store, MinIO, and the programs Docker's registry, skopeo and sshd
#   unstable  from a tree of Debian unstable: Docker 28 or newer with the containerd image store, podman's Docker-compatible
#             socket, and the programs oras, crane and skopeo
#   far       a Docker daemon that cannot reach this machine's loopback
#   azure     Azurite: Azure Blob Storage
#   versity   versitygw: a second S3 server of other make
#   gcs       fake-gcs-server: Google Cloud Storage, for reads
#   registry3 the program Docker's registry 3, which has drivers for Azure and Google; Debian's has not
#
# All state lives under DIR. What the environment already points to is used and not started: in the group `base` each of
#   OCI_STORE_TEST_DOCKER_HOST    a Docker daemon (unix://… or tcp://…)
#   OCI_STORE_TEST_S3_ENDPOINT    an S3 server, with OCI_STORE_TEST_S3_BUCKET, _S3_ACCESS_KEY and _S3_SECRET_KEY
#   OCI_STORE_TEST_REGISTRY, OCI_STORE_TEST_SKOPEO, OCI_STORE_TEST_SSHD    programs
# and of the other groups the whole group, when one of its variables is set (OCI_STORE_TEST_…):
#   unstable  DOCKER_C8D_HOST and PODMAN_HOST (unix://…), ORAS, CRANE and SKOPEO_NEW (programs)
#   far       DOCKER_FAR_HOST
#   azure     AZURE_ENDPOINT (http://127.0.0.1:PORT/ACCOUNT), AZURE_ACCOUNT, AZURE_KEY, AZURE_CONTAINER
#   versity   VERSITY_ENDPOINT, VERSITY_BUCKET, VERSITY_ACCESS_KEY, VERSITY_SECRET_KEY
#   gcs       FAKE_GCS_ENDPOINT, FAKE_GCS_BUCKET
#   registry3 REGISTRY3 (a program)
#
# OCI_STORE_TEST_CACHE is where what is built or downloaded is kept between runs (default: ~/.cache/oci-store-tests).
# OCI_STORE_TEST_DEBIAN_MIRROR is where Debian unstable comes from (default: apt's own mirror).
# shellcheck source-path=SCRIPTDIR
set -euo pipefail

PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin:/usr/local/go/bin
HOME=${HOME:-$(getent passwd "$(id -u)" | cut -d: -f6)}
export PATH HOME

here=$(dirname "$(realpath -- "${BASH_SOURCE[0]}")")
source "$here/services/ports.sh"
source "$here/services/processes.sh"
source "$here/services/install.sh"
source "$here/services/daemons.sh"
source "$here/services/stores.sh"

# --- groups ------------------------------------------------------------------------------------------------------------

readonly all_groups=base,unstable,far,azure,versity,gcs,registry3
readonly groups=${OCI_STORE_TEST_GROUPS:-$all_groups}
declare -rA variables=(
    [base]='DOCKER_HOST S3_ENDPOINT S3_BUCKET S3_ACCESS_KEY S3_SECRET_KEY REGISTRY SKOPEO SSHD'
    [unstable]='DOCKER_C8D_HOST PODMAN_HOST ORAS CRANE SKOPEO_NEW'
    [far]='DOCKER_FAR_HOST'
    [azure]='AZURE_ENDPOINT AZURE_ACCOUNT AZURE_KEY AZURE_CONTAINER'
    [versity]='VERSITY_ENDPOINT VERSITY_BUCKET VERSITY_ACCESS_KEY VERSITY_SECRET_KEY'
    [gcs]='FAKE_GCS_ENDPOINT FAKE_GCS_BUCKET'
    [registry3]='REGISTRY3'
)
exports=() # names without OCI_STORE_TEST_, each followed by its value, for DIR/env

has() { [[ ,$groups, == *,$1,* ]]; }

# given VARIABLE…: does the environment have one of them?
given() {
    local name
    for name; do
        name=OCI_STORE_TEST_$name
        [[ -z ${!name-} ]] || return 0
    done
    return 1
}

# Is the group asked for, and not there already?
starts() {
    local names
    read -ra names <<<"${variables[$1]}"
    has "$1" && ! given "${names[@]}"
}
starts_docker() { has base && ! given DOCKER_HOST; }
starts_minio() { has base && ! given S3_ENDPOINT; }

# What the environment points to goes into DIR/env as it is.
export_given() {
    local group name value
    for group in "${!variables[@]}"; do
        for name in ${variables[$group]}; do
            value=OCI_STORE_TEST_$name
            [[ -z ${!value-} ]] || exports+=("$name" "${!value}")
        done
    done
}

# --- up and down -------------------------------------------------------------------------------------------------------

check_preconditions() {
    local group without
    for group in ${groups//,/ }; do
        [[ -n ${variables[$group]-} ]] || die "OCI_STORE_TEST_GROUPS names $group; there are $all_groups"
    done
    if starts_docker || starts far || starts unstable; then
        [[ $(id -u) == 0 ]] || die "daemons are started as root only" \
            "(or set OCI_STORE_TEST_DOCKER_HOST, or leave groups out by OCI_STORE_TEST_GROUPS)"
        # the kernel's limit for a socket's path is 107; this is the longest one that dockerd makes
        local longest=$dir/run/d/libnetwork/0123456789ab.sock
        ((${#longest} <= 107)) || die "$dir is too long a path for sockets: at most $((${#dir} + 107 - ${#longest})) characters"
    fi
    if has base && given S3_ENDPOINT; then
        : "${OCI_STORE_TEST_S3_BUCKET:?goes with OCI_STORE_TEST_S3_ENDPOINT}"
        : "${OCI_STORE_TEST_S3_ACCESS_KEY:?goes with OCI_STORE_TEST_S3_ENDPOINT}"
        : "${OCI_STORE_TEST_S3_SECRET_KEY:?goes with OCI_STORE_TEST_S3_ENDPOINT}"
    fi
    without=
    if starts_minio && ! minio_is_whole; then without+=' MinIO (or set OCI_STORE_TEST_S3_ENDPOINT to an S3 server that runs),'; fi
    if starts versity && ! versitygw_is_whole; then without+=' versitygw (group versity),'; fi
    if starts gcs && ! fake_gcs_is_whole; then without+=' fake-gcs-server (group gcs),'; fi
    if starts registry3 && ! registry3_is_whole; then without+=" Docker's registry 3 (group registry3),"; fi
    if [[ -n $without ]] && go_is_missing; then
        die "Go 1.25 or newer is missing on PATH and in /usr/local/go (the distribution's golang-go may be older)." \
            "It builds${without%,}; leave groups out by OCI_STORE_TEST_GROUPS"
    fi
    if starts azure && ! { type -P node && { azurite_is_whole || type -P npm; }; } >/dev/null; then
        die "Azurite needs Node.js with npm (22 or newer is its wish, 20 works): install them by apt or from nodejs.org," \
            "or set OCI_STORE_TEST_AZURE_ENDPOINT, or leave azure out of OCI_STORE_TEST_GROUPS"
    fi
}

# Only a folder that is new, empty or made by us is touched.
claim_dir() {
    if [[ ! -e $dir/.oci-store-services ]]; then
        mkdir -p "$dir"
        [[ -z $(ls -A "$dir") ]] || die "$dir is not empty and was not made by this script"
        touch "$dir/.oci-store-services"
    fi
    clear_dir
    rm -rf --one-file-system "${dir:?}"/{env,docker,containerd,far,unstable,root,bin,minio,versity,azurite,fake-gcs,home,run,pid,log}
    mkdir -p "$dir"/{far,minio,versity,azurite,fake-gcs,home,run,pid,log}
    echo "$groups" >"$dir/groups"
}

is_up() {
    [[ -s $dir/env ]] || return 1
    local pid_file
    for pid_file in "$dir"/pid/*; do
        [[ ! -e $pid_file ]] || pid_of "${pid_file##*/}" >/dev/null || return 1
    done
}

# write_env NAME VALUE…
write_env() {
    (
        umask 077
        while (($#)); do
            printf 'export OCI_STORE_TEST_%s=%q\n' "$1" "$2"
            shift 2
        done >"$dir/env.new"
    )
    mv "$dir/env.new" "$dir/env"
}

# What takes long to make goes on in the background while the rest is installed and started; what is soon made is started
# first. Go's programs are built one after the other, since each build keeps all processors busy.
up() {
    if is_up; then
        [[ $(<"$dir/groups") == "$groups" ]] || die "$dir is up with other groups ($(<"$dir/groups")): take it down first"
        step "already up in $dir"
        return
    fi
    check_preconditions
    claim_dir
    trap 'undo $?' EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP

    [[ -s /etc/ssl/certs/ca-certificates.crt ]] || install_packages
    if starts_minio; then begin_minio; fi
    if starts azure; then begin_azurite; fi
    install_packages
    if starts unstable; then begin_tree; fi
    if starts versity; then begin_versitygw; fi
    if starts gcs; then begin_fake_gcs; fi
    if starts registry3; then begin_registry3; fi

    export_given
    if has base; then
        given REGISTRY || exports+=(REGISTRY "$(type -P docker-registry)")
        given SKOPEO || exports+=(SKOPEO "$(type -P skopeo)")
        given SSHD || exports+=(SSHD "$(type -P sshd)")
    fi
    if starts_docker; then start_docker; fi
    if starts far; then start_far; fi
    if starts_docker; then
        await_docker
        exports+=(DOCKER_HOST "unix://$dir/docker.sock")
    fi
    if starts far; then await_far; fi
    if starts azure; then
        await azurite "$(node --version) with npm $(npm --version 2>&1)"
        start_azure
    fi
    if starts unstable; then
        await debian-unstable "is there a mirror of Debian in apt's configuration?"
        start_unstable
        await_unstable
    fi
    if starts_minio; then
        await minio "$(go_hint)"
        start_minio
    fi
    if starts versity; then
        await versitygw "$(go_hint)"
        start_versity
    fi
    if starts gcs; then
        await fake-gcs "$(go_hint)"
        start_gcs
    fi
    if starts registry3; then
        await registry3 "$(go_hint)"
        exports+=(REGISTRY3 "$registry3")
    fi

    write_env "${exports[@]}"
    trap - EXIT
    step "up: source $dir/env"
}

# What `up` leaves when it does not come to its end: nothing that runs.
undo() {
    trap '' INT TERM HUP
    release_services
    end_builds
    if [[ -s $log ]]; then
        printf 'services: the end of %s:\n' "$log" >&2
        tail -n 30 "$log" >&2
    fi
    clear_dir
    exit "$1"
}

clear_dir() {
    local names ending=() mounted
    while read -ra names; do
        stop_in_turn "${names[@]}" &
        ending+=($!)
    done <<'IN_TURN'
podman c8d-dockerd c8d-containerd unstable
far-dockerd far-containerd
dockerd containerd
minio
versitygw
azurite
fake-gcs
IN_TURN
    wait "${ending[@]}"
    rm -f "$dir/env"
    while read -r mounted; do
        umount "$mounted" || umount --lazy "$mounted" || true
    done < <(awk -v under="$dir/" 'index($5, under) == 1 { print $5 }' /proc/self/mountinfo | sort -r)
}

down() {
    [[ -e $dir/.oci-store-services ]] || return 0
    clear_dir
    step "down: $dir"
}

if [[ $# != 2 || $1 != @(up|down) ]]; then
    echo "usage: tests/services.sh up DIR | down DIR" >&2
    exit 2
fi
dir=$(realpath -m -- "$2")
[[ $dir =~ ^/[A-Za-z0-9._/-]+$ ]] || die "DIR may consist of letters, digits and . _ - / only: $dir"
"$1"
