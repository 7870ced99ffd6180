#!/usr/bin/env bash
# Every test, against the real parts that tests/services.sh starts; nothing is left running or lying about afterwards.
# OCI_STORE_REQUIRE says which parts may not be skipped. OCI_STORE_TEST_… may point to services that run already, and
# OCI_STORE_TEST_GROUPS may leave some out (see tests/services.sh).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if ! cargo --version >/dev/null 2>&1; then
    echo "tests/all.sh: error: cargo does not run; install Rust (see rust-toolchain.toml for the version) first" >&2
    exit 1
fi

dir=$(mktemp -d "${TMPDIR:-/tmp}/oci-store.XXXXXX")
services=  # pid of `services.sh up`, while it works
child=     # pid, and process group, of the command at work

headline() { printf '\n=== %s (%d s)\n' "$*" "$SECONDS" >&2; }

# spawn COMMAND… runs in the background: only so is a trap obeyed at once, and a whole process group ended by us. The command
# is not left deaf to SIGINT, which a shell's background commands otherwise are: tests send it.
spawn() {
    set -m
    env --default-signal=INT,QUIT "$@" </dev/null &
    set +m
}

# The services come up beside cargo; when they fail, there is no point in compiling on.
run() {
    local began=$SECONDS
    headline "$*"
    spawn "$@"
    child=$!
    while [[ -n $services ]] && kill -0 "$child" 2>/dev/null; do
        kill -0 "$services" 2>/dev/null || await_services
        sleep 0.2
    done
    wait "$child"
    child=
    printf '=== took %d s: %s\n' $((SECONDS - began)) "$*" >&2
}

await_services() {
    local pid=$services
    services=
    wait "$pid"
}

clean_up() {
    trap '' INT TERM HUP
    if [[ -n $child ]]; then
        kill -TERM -- "-$child" 2>/dev/null || true
        wait "$child" 2>/dev/null || true
    fi
    # without its group: apt-get is better left to its end
    if [[ -n $services ]]; then
        kill -TERM "$services" 2>/dev/null || true
        wait "$services" 2>/dev/null || true
    fi
    tests/services.sh down "$dir/services" || true
    rm -rf "$dir"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# Every store and every push opens sockets; the kernel's usual soft limit of 1024 is soon reached.
if [[ $(ulimit -Sn) != unlimited ]] && (($(ulimit -Sn) < 4096)); then
    ulimit -Sn 4096
fi

# Settings and credentials of whoever starts the tests must not take part in them.
for name in $(compgen -e); do
    case $name in
    OCI_STORE_TEST_* | OCI_STORE_REQUIRE) ;;
    OCI_STORE_* | AWS_* | AZURE_* | AZURITE_* | ARM_* | MSI_* | IDENTITY_* | GOOGLE_* | CLOUDSDK_* | STORAGE_EMULATOR_HOST) unset "$name" ;;
    DOCKER_* | CONTAINER_* | CONTAINERS_* | MINIO_* | REGISTRY_*) unset "$name" ;;
    esac
done

# What the groups that are started give is required.
if [[ -z ${OCI_STORE_REQUIRE-} ]]; then
    OCI_STORE_REQUIRE=
    for pair in base:docker,s3,registry,skopeo,sshd unstable:docker-c8d,podman,oras,crane far:docker-far azure:azure \
        versity:versity gcs:fake-gcs registry3:registry3; do
        if [[ ,${OCI_STORE_TEST_GROUPS:-${pair%%:*}}, == *,${pair%%:*},* ]]; then
            OCI_STORE_REQUIRE+=,${pair#*:}
        fi
    done
fi
export OCI_STORE_REQUIRE=${OCI_STORE_REQUIRE#,}

spawn tests/services.sh up "$dir/services"
services=$!

# At once: for minutes at the end of the release build one core is busy and the others are not.
# shellcheck disable=SC2016 # expanded by the shell that runs it
run bash -c 'cargo build --release --locked &
    release=$!
    cargo test --workspace --locked --no-run || { kill "$release"; wait; exit 1; }
    wait "$release"'
target=$(realpath "${CARGO_TARGET_DIR:-target}")
export OCI_STORE_TEST_RELEASE_BIN=$target/release/oci-store

if [[ -n $services ]]; then
    headline "waiting for the services"
    await_services
fi
# shellcheck source=/dev/null
source "$dir/services/env"

# Needed to download, but everything the tests talk to is here.
unset http_proxy https_proxy all_proxy HTTP_PROXY HTTPS_PROXY ALL_PROXY
run cargo test --workspace --locked

headline "all passed"
