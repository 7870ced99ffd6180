# shellcheck shell=bash disable=SC2154
# Sourced by bench/run.sh: MinIO and the daemons (by tests/services.sh), Docker's registry on the same bucket, and the slow link.

readonly toxiproxy_version=v2.12.0
readonly cache=${OCI_STORE_TEST_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/oci-store-tests}
readonly toxiproxy=$cache/bin/toxiproxy-$toxiproxy_version
minio_version=$(sed -n 's/^readonly minio_version=//p' "$top/tests/services/install.sh")
readonly minio_version
# The link: bandwidth of one connection, and the time that a byte travels.
readonly link_rate=20000 # KB/s
readonly link_delay=10   # ms

# MinIO is always our own: what a round wrote is deleted from its folder.
start_services() {
    unset "${!OCI_STORE_TEST_S3_@}"
    OCI_STORE_TEST_GROUPS=${OCI_STORE_TEST_GROUPS:-base} "$top/tests/services.sh" up "$work/services"
    # shellcheck source=/dev/null
    source "$work/services/env"
    readonly endpoint=$OCI_STORE_TEST_S3_ENDPOINT bucket=$OCI_STORE_TEST_S3_BUCKET registry=$OCI_STORE_TEST_REGISTRY
    export AWS_ACCESS_KEY_ID=$OCI_STORE_TEST_S3_ACCESS_KEY AWS_SECRET_ACCESS_KEY=$OCI_STORE_TEST_S3_SECRET_KEY
    export AWS_REGION=us-east-1 AWS_EC2_METADATA_DISABLED=true DOCKER_HOST=$OCI_STORE_TEST_DOCKER_HOST
    unset http_proxy https_proxy all_proxy HTTP_PROXY HTTPS_PROXY ALL_PROXY
}

# answers URL waits until something answers there.
answers() {
    local deadline=$((SECONDS + 20))
    until curl --silent --output /dev/null --noproxy '*' "$1"; do
        ((SECONDS < deadline)) || die "nothing answers at $1"
        sleep 0.05
    done
}

declare -A running=() # name → pid

# begin NAME COMMAND… starts a server of ours.
begin() {
    local name=$1
    shift
    "$@" >"$work/$name.log" 2>&1 </dev/null &
    running[$name]=$!
}

end() {
    local pid=${running[$1]-}
    [[ -n $pid ]] || return 0
    kill -TERM "$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || true
    unset "running[$1]"
}

end_all() {
    local name
    for name in "${!running[@]}"; do end "$name"; done
}

# --- Docker's registry ---------------------------------------------------------------------------------------------------

# start_registry ENDPOINT ROOT serves the folder ROOT of the bucket. It passes every byte on itself, as we do.
start_registry() {
    end registry
    registry_port=$(free_port)
    cat >"$work/registry.yml" <<YAML
version: 0.1
log: { level: error, accesslog: { disabled: true } }
http: { addr: 127.0.0.1:$registry_port }
storage:
  redirect: { disable: true }
  s3: { regionendpoint: $1, region: us-east-1, bucket: $bucket, rootdirectory: /$2, secure: false,
        accesskey: $AWS_ACCESS_KEY_ID, secretkey: $AWS_SECRET_ACCESS_KEY }
YAML
    # Debian's panics at this variable.
    begin registry env --unset=AWS_CA_BUNDLE "$registry" serve "$work/registry.yml"
    answers "http://127.0.0.1:$registry_port/v2/"
}

# --- the bucket ----------------------------------------------------------------------------------------------------------

roots=0
# fresh_root sets `root` to a folder of the bucket that nobody has used.
fresh_root() {
    roots=$((roots + 1))
    root=bench-$$-$roots
}

remove_root() { rm -rf "$work/services/minio/$bucket/$1"; }

# --- the slow link -------------------------------------------------------------------------------------------------------

start_link() {
    local api port toxic
    [[ -z ${running[link]-} ]] || return 0
    if [[ ! -x $toxiproxy ]]; then
        step "builds toxiproxy $toxiproxy_version"
        mkdir -p "$cache/bin"
        GOBIN=$work/toxiproxy go install "github.com/Shopify/toxiproxy/v2/cmd/server@$toxiproxy_version"
        mv "$work/toxiproxy/server" "$toxiproxy"
    fi
    api=$(free_port)
    begin link "$toxiproxy" -host 127.0.0.1 -port "$api"
    answers "http://127.0.0.1:$api/version"
    port=$(free_port)
    slow_endpoint=http://127.0.0.1:$port
    ask() { curl --silent --show-error --fail --noproxy '*' --output /dev/null --json "$2" "http://127.0.0.1:$api$1"; }
    ask /proxies '{"name": "s3", "listen": "127.0.0.1:'"$port"'", "upstream": "'"${endpoint#http://}"'"}'
    for toxic in upstream downstream; do
        ask /proxies/s3/toxics '{"name": "delay-'$toxic'", "type": "latency", "stream": "'$toxic'", "attributes": {"latency": '$link_delay'}}'
        ask /proxies/s3/toxics '{"name": "rate-'$toxic'", "type": "bandwidth", "stream": "'$toxic'", "attributes": {"rate": '$link_rate'}}'
    done
}
