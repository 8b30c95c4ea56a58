# Shared by build.sh and test.sh; sourced, with $here set to the checkout.
# shellcheck shell=bash

module=$here/artifacts/ArchAzure
host=$here/artifacts/host/archazure-host
stand_in_tool=$here/artifacts/standin/archazure-standin
engine_data=/var/lib/archazure-docker
engine_run=/run/archazure-docker
engine_options=()
stand_in_mark='# Written by build.sh --stand-in.'
started_processes=()

say() { printf '== %s\n' "$*" >&2; }
die() { printf 'ERROR: %s\n' "$*" >&2; exit 1; }

is_debian() { [[ -r /etc/os-release ]] && grep -qE '^(ID|ID_LIKE)=.*(debian|ubuntu)' /etc/os-release; }

# install_packages NAME...: those of Debian's packages that are missing.
install_packages() {
    local missing=() name
    for name in "$@"; do
        dpkg-query --show --showformat='${Status}\n' "$name" 2> /dev/null | grep -q 'ok installed' || missing+=("$name")
    done
    (( ${#missing[@]} )) || return 0
    [[ $EUID -eq 0 ]] || die "These packages are missing: ${missing[*]}. Install them: sudo apt-get install ${missing[*]}"
    say "installing ${missing[*]}"
    local log
    log=$(mktemp)
    if ! { apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install --yes --no-install-recommends "${missing[@]}"; } > "$log" 2>&1 < /dev/null; then
        cat "$log" >&2
        rm -f "$log"
        die "apt-get could not install: ${missing[*]}."
    fi
    rm -f "$log"
}

need_dotnet() {
    command -v dotnet > /dev/null || die "The .NET SDK 10 is needed to build the module, and 'dotnet' is not on the PATH. See https://dotnet.microsoft.com/download."
    export DOTNET_CLI_TELEMETRY_OPTOUT=1 DOTNET_NOLOGO=1 POWERSHELL_TELEMETRY_OPTOUT=1
}

# publish STAMP WHAT FOLDER... -- COMMAND...: runs the command unless nothing in the folders is newer than the stamp.
publish() {
    local stamp=$1 what=$2 inputs=() log
    shift 2
    while [[ $1 != -- ]]; do
        inputs+=("$1")
        shift
    done
    shift
    if [[ -e $stamp ]] && [[ -z $(find "${inputs[@]}" "$here"/Directory.* "$here/global.json" -not -path '*/bin/*' -not -path '*/obj/*' -newer "$stamp" -print -quit) ]]; then
        return
    fi
    say "building $what"
    mkdir -p "$(dirname "$stamp")"
    log=$(mktemp)
    # Two runs in one checkout build one after the other; the second finds all done.
    local once=()
    ! command -v flock > /dev/null || once=(flock --close "$here/artifacts/build.lock")
    if ! ${once[@]+"${once[@]}"} "$@" > "$log" 2>&1 < /dev/null; then
        cat "$log" >&2
        rm -f "$log"
        die "$what could not be built."
    fi
    rm -f "$log"
    touch "$stamp"
}

build_module() {
    publish "$here/artifacts/module.stamp" "the module" "$here"/src/ArchAzure.{Engine,Loader,PowerShell} "$here/module" -- \
        dotnet build "$here/src/ArchAzure.PowerShell" --configuration Release
}

# run_powershell SCRIPT [ARGUMENT...]: with pwsh if it is there, else with the small host of this project.
run_powershell() {
    local shell=(pwsh)
    if ! command -v pwsh > /dev/null || [[ -n ${ARCHAZURE_USE_HOST:-} ]]; then
        publish "$here/artifacts/host.stamp" "the PowerShell host" "$here/src/ArchAzure.Host" -- \
            dotnet publish "$here/src/ArchAzure.Host" --configuration Release --use-current-runtime --self-contained false --output "$here/artifacts/host"
        shell=("$host")
    fi
    local options=(-NoProfile)
    [[ -t 0 && -t 1 ]] || options+=(-NonInteractive)
    # In the background, so that a signal to this script reaches the shell and is waited for.
    "${shell[@]}" "${options[@]}" -File "$@" <&0 &
    local pid=$! status=0
    trap 'kill -TERM $pid 2> /dev/null' TERM
    trap 'kill -INT $pid 2> /dev/null' INT
    wait "$pid" || status=$?
    while kill -0 "$pid" 2> /dev/null; do
        wait "$pid" || status=$?
    done
    trap - TERM INT
    return "$status"
}

engine_answers() {
    if command -v docker > /dev/null; then
        timeout 20 docker version > /dev/null 2>&1 < /dev/null
    else
        [[ -S /var/run/docker.sock ]] && command -v curl > /dev/null && curl --silent --fail --max-time 10 --output /dev/null --unix-socket /var/run/docker.sock http://docker/_ping
    fi
}

# Uses the engine that answers; else, as root on Debian or Ubuntu, installs one and starts it for this run. Who may not do that
# is told by the module what is wrong with the engine.
need_docker() {
    ! engine_answers || return 0
    if [[ $EUID -ne 0 ]] || ! is_debian; then
        return 0
    fi
    install_packages docker.io iptables ca-certificates
    local run=$engine_run pid attempt
    say "no Docker engine answers: starting one for this run (its images lie in $engine_data)"
    mkdir -p "$engine_data" "$run"
    export DOCKER_HOST=unix://$run/docker.sock
    setsid dockerd ${engine_options[@]+"${engine_options[@]}"} --host "$DOCKER_HOST" --data-root "$engine_data" --exec-root "$run/exec" --pidfile "$run/docker.pid" > "$run/log" 2>&1 < /dev/null &
    pid=$!
    started_processes+=("$pid")
    for attempt in {1..60}; do
        ! engine_answers || return 0
        kill -0 "$pid" 2> /dev/null || break
        sleep 0.5
    done
    tail -n 20 "$run/log" >&2
    die "dockerd did not start; the whole log is $run/log."
}

# Makes the stand-in mirror where the cache lacks it; its folder is then in $stand_in_folder.
make_stand_in() {
    is_debian || die "The stand-in mirror is made from Debian's packages: it needs Debian or Ubuntu."
    publish "$here/artifacts/standin.stamp" "the stand-in mirror's tool" "$here/tests/standin" -- \
        dotnet build "$here/tests/standin" --configuration Release --output "$here/artifacts/standin"
    say "stand-in mirror"
    stand_in_folder=$("$stand_in_tool" make | tail -n 1)
}

# stand_in_port SETTINGS: the mirror's port that these settings name. Without one it is the checkout's own, in all its runs: the
# name of the builder's image depends on the mirror's address. It lies below the ports that the kernel gives out by itself.
stand_in_port() {
    local sum
    sed -nE 's#^MIRROR=http://127\.0\.0\.1:([0-9]+)/.*#\1#p' "$1" 2> /dev/null | grep . && return
    sum=$(cksum <<< "$here")
    echo "$(( 20000 + ${sum%% *} % 10000 ))"
}

# serve_stand_in PORT: serves the stand-in mirror on loopback until this script ends, at the first free port from PORT on; its address
# is then in $stand_in_url.
serve_stand_in() {
    local ready pid attempt
    ready=$(mktemp)
    "$stand_in_tool" serve "$stand_in_folder" --port "$1" > "$ready" 2>&1 < /dev/null &
    pid=$!
    started_processes+=("$pid")
    stand_in_url=
    for attempt in {1..100}; do
        stand_in_url=$(sed -n 's/^listening on //p' "$ready")
        [[ -z $stand_in_url ]] && kill -0 "$pid" 2> /dev/null || break
        sleep 0.1
    done
    [[ -n $stand_in_url ]] || { cat "$ready" >&2; rm -f "$ready"; die "The stand-in mirror could not be served."; }
    rm -f "$ready"
}

# write_stand_in_settings SETTINGS: makes the file where it is not there; else only the mirror's address in it becomes the one where it is
# served now.
write_stand_in_settings() {
    if [[ -e $1 ]]; then
        sed --in-place -E "s#^([A-Z_]+=)http://127\.0\.0\.1:$(stand_in_port "$1")/#\1$stand_in_url/#" "$1"
        return
    fi
    {
        printf '%s\n# Debian packages under the names of Arch: for trying and testing, not for use.\n' "$stand_in_mark"
        "$stand_in_tool" settings "$stand_in_folder" "$stand_in_url"
    } > "$1"
}

# Ends what this script has started, the youngest first.
stop_started() {
    local i
    for (( i = ${#started_processes[@]} - 1; i >= 0; i-- )); do
        kill -TERM "${started_processes[i]}" 2> /dev/null || continue
        wait "${started_processes[i]}" 2> /dev/null || true
    done
}
