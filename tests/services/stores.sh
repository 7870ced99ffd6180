# shellcheck shell=bash disable=SC2154
# Sourced by tests/services.sh: object stores. MinIO and versitygw (S3), Azurite (Azure Blob Storage), fake-gcs-server (Google
# Cloud Storage; it does not take every write that a client of the real one makes, so it is for reads).

readonly bucket=oci-store-test

# start_store NAME READY COMMAND… starts a server on a free port: the command `COMMAND… PORT` starts the service NAME, and
# `READY PORT` succeeds when it answers. Sets `port`.
start_store() {
    local name=$1 answers=$2 attempt
    shift 2
    for attempt in 1 2 3 4 5; do
        port=$(free_port)
        "$@" "$port"
        poll 60 settled "$name" "$answers" "$port" || true
        if pid_of "$name" >/dev/null || ! grep -qiE 'already in use|EADDRINUSE' "$log"; then break; fi
        step "port $port was taken meanwhile (attempt $attempt)"
    done
    ready 60 "$name" "$answers" "$port"
    step "$name runs at http://127.0.0.1:$port"
}

# Is the port open, and is it the service's own process that listens?
listens() { ss -Hltnp "sport = :$2" | grep -q "pid=$(pid_of "$1"),"; }

# make_bucket ENDPOINT ACCESS_KEY SECRET_KEY. One that exists already is fine: an attempt whose answer was lost is repeated.
make_bucket() {
    local status of_nothing=e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855
    status=$(http --no-fail --output /dev/null --write-out '%{http_code}' --request PUT "$1/$bucket" \
        --header "x-amz-content-sha256: $of_nothing" --aws-sigv4 aws:amz:us-east-1:s3 --config - <<<"user = $2:$3")
    [[ $status == 200 || $status == 409 ]]
}

# --- MinIO -------------------------------------------------------------------------------------------------------------

start_minio() {
    local port access_key secret_key
    access_key=test-$(random_hex 4)
    secret_key=$(random_hex 20)
    start_store minio minio_answers minio_on "$access_key" "$secret_key"
    ready 30 minio make_bucket "http://127.0.0.1:$port" "$access_key" "$secret_key"
    exports+=(S3_ENDPOINT "http://127.0.0.1:$port" S3_BUCKET "$bucket" S3_ACCESS_KEY "$access_key" S3_SECRET_KEY "$secret_key")
}
minio_on() {
    start minio MINIO_ROOT_USER="$1" MINIO_ROOT_PASSWORD="$2" MINIO_BROWSER=off MINIO_UPDATE=off \
        "$minio" server "$dir/minio" --address "127.0.0.1:$3"
}
minio_answers() { http "http://127.0.0.1:$1/minio/health/live"; }

# --- versitygw ---------------------------------------------------------------------------------------------------------

start_versity() {
    local port access_key secret_key
    access_key=test-$(random_hex 4)
    secret_key=$(random_hex 20)
    start_store versitygw versitygw_answers versitygw_on "$access_key" "$secret_key"
    ready 30 versitygw make_bucket "http://127.0.0.1:$port" "$access_key" "$secret_key"
    exports+=(VERSITY_ENDPOINT "http://127.0.0.1:$port" VERSITY_BUCKET "$bucket"
        VERSITY_ACCESS_KEY "$access_key" VERSITY_SECRET_KEY "$secret_key")
}
# Its file system must have extended attributes, as ext4, xfs, overlayfs and (since Linux 6.6) tmpfs have.
versitygw_on() {
    start versitygw ROOT_ACCESS_KEY="$1" ROOT_SECRET_KEY="$2" "$versitygw" --port "127.0.0.1:$3" --health /health \
        posix "$dir/versity"
}
versitygw_answers() { http "http://127.0.0.1:$1/health"; }

# --- Azurite -----------------------------------------------------------------------------------------------------------

# The account and the key that every client knows as the development storage's.
readonly azure_account=devstoreaccount1
readonly azure_key=Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==

start_azure() {
    local port
    start_store azurite azurite_answers azurite_on
    ready 30 azurite make_container "http://127.0.0.1:$port/$azure_account"
    exports+=(AZURE_ENDPOINT "http://127.0.0.1:$port/$azure_account" AZURE_ACCOUNT "$azure_account" AZURE_KEY "$azure_key"
        AZURE_CONTAINER "$bucket")
}
azurite_on() {
    start azurite node "$azurite/node_modules/azurite/dist/src/blob/main.js" --silent --disableTelemetry \
        --location "$dir/azurite" --blobHost 127.0.0.1 --blobPort "$1"
}
azurite_answers() { listens azurite "$1"; }

# make_container ENDPOINT, signed with the account's key, which curl cannot do.
make_container() {
    env -i PATH="$PATH" node - "$1" "$azure_account" "$azure_key" "$bucket" <<'JS'
const [endpoint, account, key, container] = process.argv.slice(2);
const url = new URL(`${endpoint}/${container}?restype=container`);
const headers = { 'x-ms-date': new Date().toUTCString(), 'x-ms-version': '2023-11-03' };
const signed = Object.entries(headers).map(([name, value]) => `${name}:${value}\n`).join('');
const text = `PUT${'\n'.repeat(12)}${signed}/${account}${url.pathname}\nrestype:container`;
const signature = require('node:crypto').createHmac('sha256', Buffer.from(key, 'base64')).update(text).digest('base64');
headers.Authorization = `SharedKey ${account}:${signature}`;
headers['Content-Length'] = 0;
const request = require('node:http').request(url, { method: 'PUT', headers, timeout: 5000 }, (answer) => {
  answer.pipe(process.stderr);
  process.exitCode = [201, 409].includes(answer.statusCode) ? 0 : 1;
});
request.on('timeout', () => request.destroy(new Error('timed out')));
request.on('error', (error) => { console.error(error.message); process.exitCode = 1; });
request.end();
JS
}

# --- fake-gcs-server ---------------------------------------------------------------------------------------------------

start_gcs() {
    local port
    start_store fake-gcs fake_gcs_answers fake_gcs_on
    ready 30 fake-gcs make_gcs_bucket "http://127.0.0.1:$port"
    exports+=(FAKE_GCS_ENDPOINT "http://127.0.0.1:$port" FAKE_GCS_BUCKET "$bucket")
}
fake_gcs_on() {
    start fake-gcs "$fake_gcs" -scheme http -host 127.0.0.1 -port "$1" -public-host "127.0.0.1:$1" \
        -external-url "http://127.0.0.1:$1" -backend filesystem -filesystem-root "$dir/fake-gcs"
}
fake_gcs_answers() { http "http://127.0.0.1:$1/_internal/healthcheck"; }
make_gcs_bucket() {
    local status
    status=$(http --no-fail --output /dev/null --write-out '%{http_code}' --header 'Content-Type: application/json' \
        --data "{\"name\": \"$bucket\"}" "$1/storage/v1/b?project=test")
    [[ $status == 200 || $status == 409 ]]
}
