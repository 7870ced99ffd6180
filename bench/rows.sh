# shellcheck shell=bash disable=SC2154
# Sourced by bench/run.sh: the rows of the table. The function `row_NAME` runs one (with _ for -); each round of it begins
# in the state that the row's name promises, and only what is measured counts.

readonly all_rows=(
    push-tiny push-mixed push-big push-big-zstd push-again push-layer-known push-layer-unknown
    pull-mixed slow-push slow-pull slow-read serve containerd
)

table() {
    line push-tiny 'push of a 6-byte image' ''
    line push-mixed 'push mixed, cold, against `docker push` to Docker'\''s registry on the same bucket' '≤ 0.6'
    side_line save push-mixed '`docker save` of it alone, to nowhere: what a push by archive begins with' ''
    line push-big 'push of one 1 GB layer, cold, against the same' '≤ 0.55'
    side_line save push-big '`docker save` of it alone' ''
    line push-big-zstd 'the same with `--compression zstd`' '≤ 0.45'
    line push-again 'push with nothing new, 1.2 GB image, against saving and compressing everything (`docker save`, `gzip -6`)' '≤ 0.05, and ≤ 0.3 s'
    line push-layer-known 'push with one new 20 MB layer on it, where the daemon knows the other layers'\'' digests' '≤ 1.1'
    line push-layer-unknown 'the same, where it does not' '≤ 0.45'
    line pull-mixed 'pull mixed, cold, against `docker pull` from Docker'\''s registry' '≤ 1.0'
    line slow-pull 'pull of one big layer over 20 MB/s per connection and 10 ms each way' '≤ 0.55'
    line slow-read 'the same into an OCI layout, against `curl` of the layer from Docker'\''s registry: with no daemon that extracts it' ''
    line slow-push 'push of it over the same link' '≤ 0.5'
    line serve "\`serve\`: 8 clients reading 64 MiB blobs from MinIO, against Docker's registry without redirect" '≤ 1.0 within 64 MiB'
    line containerd 'push mixed, cold, from the containerd store' '≤ 0.8'
}

# ours SIDE ENDPOINT ROOT ARGUMENT… measures our program.
ours() {
    local side=$1 at=$2 below=$3
    shift 3
    measure "$side" "$program" s3 "$@" --endpoint "$at" --root-dir "$below" --quiet
}

# --- pushes --------------------------------------------------------------------------------------------------------------

# our_push IMAGE ENDPOINT [FLAG…] from a daemon that knows no digests to a bucket that has nothing
our_push() {
    local image=$1 at=$2
    shift 2
    fresh_root
    forget_digests
    ours ours "$at" "$root" push "$bucket/bench/$image:v1" --image "bench/$image:v1" "$@"
    remove_root "$root"
}
# docker_push IMAGE ENDPOINT does the same the usual way.
docker_push() {
    local name
    fresh_root
    forget_digests
    start_registry "$2" "$root"
    name=127.0.0.1:$registry_port/bench/$1:v1
    docker tag "bench/$1:v1" "$name"
    measure peer docker push --quiet "$name"
    docker image rm "$name" >/dev/null
    end registry
    remove_root "$root"
}

# push_row IMAGE ENDPOINT [FLAG…]; a caller may have more_sides.
push_row() {
    local image=$1 at=$2 flags=("${@:3}")
    need_image "$image"
    our_side() { our_push "$image" "$at" "${flags[@]}"; }
    docker_side() { docker_push "$image" "$at"; }
    in_turn our_side docker_side "${more_sides[@]}"
}

# push_and_save_row IMAGE shows also how long the daemon alone takes to save the image.
push_and_save_row() {
    local image=$1 more_sides=(save_side)
    save_side() { measure save sh -c 'docker save "$1" >/dev/null' sh "bench/$image:v1"; }
    push_row "$image" "$endpoint"
}

row_push_tiny() { push_row tiny "$endpoint"; }
row_push_mixed() { push_and_save_row mixed; }
row_push_big() { push_and_save_row big; }
row_push_big_zstd() {
    if "$program" s3 push --help | grep -q -e --compression; then
        push_row big "$endpoint" --compression zstd
    else
        step "left out: this program has no --compression"
    fi
}
row_slow_push() {
    start_link
    push_row big "$slow_endpoint"
}

# The Go tool of the same name cannot be installed by `go install` everywhere. What it does each time is to save the whole image
# and to compress it on one core; here that is done by `docker save | gzip -6`, without sending anything.
row_push_again() {
    need_image mixed
    fresh_root
    "$program" s3 push "$bucket/bench/mixed:v1" --image bench/mixed:v1 --endpoint "$endpoint" --root-dir "$root" --quiet >/dev/null
    our_side() { ours ours "$endpoint" "$root" push "$bucket/bench/mixed:v1" --image bench/mixed:v1; }
    go_side() { measure peer sh -c 'docker save bench/mixed:v1 | gzip -6 >/dev/null'; }
    in_turn our_side go_side
    remove_root "$root"
}

# A row of pushes with one new layer: the bucket has the others. Each side has its own folder of the bucket, written by itself,
# and gets a layer of its own, so that neither finds what the other has sent.
new_layer_row() {
    local knows=$1 ours_root peer_root name flags=()
    need_image mixed
    fresh_root
    ours_root=$root
    fresh_root
    peer_root=$root
    # Only what went through a registry has digests that the daemon knows: what was compressed here it has never seen.
    [[ $knows == no ]] || flags+=(--transport registry)
    "$program" s3 push "$bucket/bench/mixed:v1" --image bench/mixed:v1 --endpoint "$endpoint" --root-dir "$ours_root" --quiet \
        "${flags[@]}" >/dev/null
    start_registry "$endpoint" "$peer_root"
    name=127.0.0.1:$registry_port/bench/mixed
    docker tag bench/mixed:v1 "$name:v1"
    docker push --quiet "$name:v1" >/dev/null
    our_side() {
        add_layer more
        [[ $knows == yes ]] || forget_digests
        ours ours "$endpoint" "$ours_root" push "$bucket/bench/mixed:more" --image bench/more:v1
    }
    docker_side() {
        add_layer more
        if [[ $knows == yes ]]; then
            # the other side may have made it forget
            docker push --quiet "$name:v1" >/dev/null
        else
            forget_digests
        fi
        docker tag bench/more:v1 "$name:more"
        measure peer docker push --quiet "$name:more"
        docker image rm "$name:more" >/dev/null
    }
    in_turn our_side docker_side
    docker image rm "$name:v1" bench/more:v1 >/dev/null
    end registry
    remove_root "$ours_root"
    remove_root "$peer_root"
}
row_push_layer_known() { new_layer_row yes; }
row_push_layer_unknown() { new_layer_row no; }

# --- pulls ---------------------------------------------------------------------------------------------------------------

# pull_row IMAGE ENDPOINT: both read what Docker's registry wrote, into a daemon that has no layer of it.
pull_row() {
    local image=$1 at=$2 name
    need_image "$image"
    fresh_root
    start_registry "$endpoint" "$root"
    name=127.0.0.1:$registry_port/bench/$image:v1
    docker tag "bench/$image:v1" "$name"
    docker push --quiet "$name" >/dev/null
    start_registry "$at" "$root"
    name=127.0.0.1:$registry_port/bench/$image:v1
    our_side() {
        forget_images
        forget_digests
        ours ours "$at" "$root" pull "$bucket/bench/$image:v1" --image "bench/$image:v1"
    }
    docker_side() {
        forget_images
        forget_digests
        measure peer docker pull --quiet "$name"
    }
    in_turn our_side docker_side
    forget_images
    end registry
    remove_root "$root"
}
row_pull_mixed() { pull_row mixed "$endpoint"; }
row_slow_pull() {
    start_link
    pull_row big "$slow_endpoint"
}

# What the link alone makes of it: no daemon extracts what came.
row_slow_read() {
    local name digest
    start_link
    need_image big
    fresh_root
    start_registry "$endpoint" "$root"
    name=127.0.0.1:$registry_port/bench/big
    docker tag bench/big:v1 "$name:v1"
    docker push --quiet "$name:v1" >/dev/null
    docker image rm "$name:v1" >/dev/null
    digest=$("$program" manifest "s3://$bucket/bench/big:v1" --endpoint "$endpoint" --root-dir "$root" 2>/dev/null |
        tr -d ' \n' | sed 's/.*"layers":.*"digest":"\(sha256:[0-9a-f]*\)".*/\1/')
    start_registry "$slow_endpoint" "$root"
    our_side() {
        ours ours "$slow_endpoint" "$root" pull "$bucket/bench/big:v1" --image "oci:$work/layout"
        rm -rf "$work/layout"
    }
    curl_side() {
        measure peer curl --silent --show-error --fail --noproxy '*' --output "$work/blob" \
            "http://127.0.0.1:$registry_port/v2/bench/big/blobs/$digest"
        rm "$work/blob"
    }
    in_turn our_side curl_side
    end registry
    remove_root "$root"
}

# --- serve ---------------------------------------------------------------------------------------------------------------

readonly clients=8 blobs=12 times=4

# Blobs of 64 MiB, each read several times: all of them together by eight clients at once.
row_serve() {
    local size number digests=() digest location
    size=$(mib 64)
    fresh_root
    start_registry "$endpoint" "$root"
    for ((number = 0; number < blobs; number++)); do
        head -c "$size" /dev/urandom >"$work/blob"
        digest=sha256:$(sha256sum "$work/blob" | cut -d' ' -f1)
        digests+=("$digest")
        location=$(curl --silent --fail --noproxy '*' --request POST --dump-header - "http://127.0.0.1:$registry_port/v2/bench/blobs/uploads/" |
            tr -d '\r' | awk 'tolower($1) == "location:" { print $2 }')
        curl --silent --show-error --fail --noproxy '*' --request PUT --header 'Content-Type: application/octet-stream' \
            --upload-file "$work/blob" "$location&digest=$digest"
    done
    rm "$work/blob"
    our_side() {
        local port
        port=$(free_port)
        begin serve "$program" s3 serve "$bucket" --read-only --listen "127.0.0.1:$port" --endpoint "$endpoint" --root-dir "$root" --quiet
        answers "http://127.0.0.1:$port/v2/"
        read_blobs ours "$port" "${running[serve]}"
        end serve
    }
    registry_side() {
        start_registry "$endpoint" "$root"
        read_blobs peer "$registry_port" "${running[registry]}"
        end registry
    }
    in_turn our_side registry_side
    remove_root "$root"
    verifying $((size * blobs * times))
}

# read_blobs SIDE PORT PID
read_blobs() {
    local side=$1 port=$2 pid=$3 seconds began
    began=${EPOCHREALTIME/[.,]/}
    for ((number = 0; number < times; number++)); do printf '%s\n' "${digests[@]}"; done |
        xargs --max-procs "$clients" --max-args 6 sh -c 'port=$1; shift; for digest; do
            curl --silent --show-error --fail --noproxy "*" --output /dev/null "http://127.0.0.1:$port/v2/bench/blobs/$digest" || exit 255
        done' sh "$port" || die "$row, $side: a blob could not be read"
    seconds=$(awk -v us=$((${EPOCHREALTIME/[.,]/} - began)) 'BEGIN { printf "%.2f", us / 1e6 }')
    # shellcheck disable=SC2046 # two words
    record "$side" "$seconds" $(used "$pid")
}

# verifying BYTES says what hashing so many bytes costs on this CPU.
verifying() {
    local rate
    rate=$(openssl speed -elapsed -seconds 1 -bytes 65536 -evp sha256 2>/dev/null | awk '/^sha256/ { sub("k", "", $2); print $2 }')
    step "serve: hashing all $1 bytes takes $(awk -v n="$1" -v rate="$rate" 'BEGIN { printf "%.2f", n / rate / 1000 }') s of CPU by openssl's SHA-256"
}

# --- containerd's image store --------------------------------------------------------------------------------------------

row_containerd() {
    if [[ -z ${OCI_STORE_TEST_DOCKER_C8D_HOST-} ]]; then
        step "left out: no daemon with the containerd store (OCI_STORE_TEST_GROUPS=base,unstable starts one)"
        return
    fi
    local -x DOCKER_HOST=$OCI_STORE_TEST_DOCKER_C8D_HOST
    push_row mixed "$endpoint" --transport registry
    forget_images
}
