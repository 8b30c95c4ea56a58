# Shared by build.sh and test.sh; sourced, with $here set to the checkout.
# shellcheck shell=bash

module=$here/artifacts/ArchAzure
stand_in_tool=$here/artifacts/standin/archazure-standin
engine_data=/var/lib/archazure-docker
engine_run=/run/archazure-docker
engine_options=()
stand_in_mark='# Written by build.sh --stand-in.'
started_processes=()
log='' child='' heard=''

say() { printf '== %s\n' "$*" >&2; }
die() { printf 'ERROR: %s\n' "$*" >&2; exit 1; }

# listen: from now on a signal ends what runs under 'attended' and then this script, with 128 and the signal's number.
listen() {
    trap 'hear INT 2' INT
    trap 'hear TERM 15' TERM
    trap 'hear HUP 1' HUP
    trap stop_started EXIT
}

hear() {
    [[ -n $child ]] || exit $(( 128 + $2 ))
    [[ -n $heard ]] || say "stopping"
    heard=$2
    kill -s "$1" "$child" 2> /dev/null || true
}

# attended COMMAND...: runs a program and waits for it. bash handles no signal while it waits for a program in the foreground, so this
# one runs in the background; there a shell ignores INT, which is taken back (bash before 4.3, as on macOS, cannot do that itself).
attended() {
    local status=0
    if (( BASH_VERSINFO[0] * 100 + BASH_VERSINFO[1] < 403 )); then
        set -- perl -e '$SIG{INT} = "DEFAULT"; exec { $ARGV[0] } @ARGV' "$@"
    fi
    ( trap - INT TERM HUP; exec "$@" ) <&0 &
    child=$!
    # A signal ends the wait. Without the redirection bash would print the job's whole line if the program died by one.
    while wait "$child" 2> /dev/null && status=0 || status=$?; kill -0 "$child" 2> /dev/null; do :; done
    child=
    [[ -z $heard ]] || exit $(( 128 + heard ))
    return "$status"
}

# quietly ERROR COMMAND...: shows what the program says only if it fails; then this script ends with the error.
quietly() {
    local error=$1
    shift
    log=$(mktemp)
    if ! attended "$@" > "$log" 2>&1 < /dev/null; then
        cat "$log" >&2
        die "$error"
    fi
    rm -f "$log"
}

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
    quietly "apt-get could not read the lists of packages." apt-get -qq update
    quietly "apt-get could not install: ${missing[*]}." env DEBIAN_FRONTEND=noninteractive apt-get -qq install --yes --no-install-recommends "${missing[@]}"
}

need_dotnet() {
    command -v dotnet > /dev/null || die "The .NET SDK 10 is needed to build the module, and 'dotnet' is not on the PATH. See https://dotnet.microsoft.com/download."
    export DOTNET_CLI_TELEMETRY_OPTOUT=1 DOTNET_NOLOGO=1 POWERSHELL_TELEMETRY_OPTOUT=1
}

# publish STAMP WHAT FOLDER... -- COMMAND...: runs the command unless nothing in the folders is newer than the stamp.
publish() {
    local stamp=$1 what=$2 inputs=()
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
    # Two runs in one checkout build one after the other; the second finds all done. What stays behind of dotnet must not hold the lock.
    ! command -v flock > /dev/null || { exec 9> "$here/artifacts/build.lock" && flock 9; }
    quietly "$what could not be built." "$@" 9>&-
    exec 9>&-
    touch "$stamp"
}

build_module() {
    publish "$here/artifacts/module.stamp" "the module" "$here"/{src,module,docs,tools/ArchAzure.Help} -- \
        dotnet build "$here/src/ArchAzure.PowerShell" --configuration Release
}

# Installs Azurite, Azure's storage on this machine, where it is missing; its program for node is then in $azurite.
need_azurite() {
    local version=3.37.0 folder=$here/artifacts/azurite
    azurite=$folder/node_modules/azurite/dist/src/blob/main.js
    [[ ! -e $azurite || $(node -p 'require(process.argv[1]).version' "$folder/node_modules/azurite/package.json") != "$version" ]] || return 0
    command -v npm > /dev/null || die "The tests of Publish-AzureVhd run on Azurite, which comes by npm, and 'npm' is not on the PATH. See https://nodejs.org."
    say "installing Azurite $version"
    mkdir -p "$folder"
    quietly "Azurite could not be installed." npm install --prefix "$folder" --ignore-scripts --no-audit --no-fund --no-save "azurite@$version"
}

# dotnet_packages: the folder into which NuGet unpacks.
dotnet_packages() {
    local line
    line=$(dotnet nuget locals global-packages --list --force-english-output)
    line=${line#*: }
    echo "${line%/}"
}

# Finds the PowerShell that runs the module and puts its program (pwsh or pwsh.dll) into $ARCHAZURE_POWERSHELL: the pwsh on the PATH
# from 7.4 on, else the one of .config/dotnet-tools.json. Never the shim that a dotnet tool is started by: it passes no signal on. The
# program beside a tool's pwsh.dll is for one kind of processor only; one that brings its own .NET has to be started by its program.
find_powershell() {
    local home manifest=$here/.config/dotnet-tools.json version tool
    home=$(pwsh -NoProfile -NonInteractive -Command 'if ($PSVersionTable.PSVersion -ge [version] "7.4") { $PSHOME }' 2> /dev/null < /dev/null) || home=
    if [[ -z $home ]]; then
        version=$(sed -n 's/.*"version": "\(.*\)".*/\1/p' "$manifest")
        tool=powershell/$version/tools/net10.0/any/unix
        # Where NuGet unpacks unless it is told otherwise. To ask it takes half a second.
        home=${NUGET_PACKAGES:-${HOME:-}/.nuget/packages}/$tool
        [[ -e $home/pwsh.dll ]] || home=$(dotnet_packages)/$tool
        if [[ ! -e $home/pwsh.dll ]]; then
            say "installing PowerShell $version"
            quietly "PowerShell could not be installed." dotnet tool restore --tool-manifest "$manifest"
        fi
    fi
    ARCHAZURE_POWERSHELL=$home/pwsh.dll
    ! grep -qs includedFrameworks "$home/pwsh.runtimeconfig.json" || ARCHAZURE_POWERSHELL=$home/pwsh
    export ARCHAZURE_POWERSHELL
}

# run_powershell ARGUMENT...: with its options for a terminal or for none.
run_powershell() {
    local command=("$ARCHAZURE_POWERSHELL")
    [[ $ARCHAZURE_POWERSHELL != *.dll ]] || command=(dotnet "$ARCHAZURE_POWERSHELL")
    command+=(-NoProfile)
    [[ -t 0 && -t 1 ]] || command+=(-NonInteractive)
    # A session of seconds never gets back what .NET spends on watching which code to compile once more.
    DOTNET_TieredPGO=0 attended "${command[@]}" "$@"
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

build_stand_in_tool() {
    publish "$here/artifacts/standin.stamp" "the stand-in mirror's tool" "$here/tests/standin" -- \
        dotnet build "$here/tests/standin" --configuration Release --output "$here/artifacts/standin"
}

# Makes the stand-in mirror where the cache lacks it; its folder is then in $stand_in_folder.
make_stand_in() {
    is_debian || die "The stand-in mirror is made from Debian's packages: it needs Debian or Ubuntu."
    build_stand_in_tool
    say "stand-in mirror"
    log=$(mktemp)
    attended "$stand_in_tool" make > "$log" < /dev/null
    stand_in_folder=$(tail -n 1 "$log")
    rm -f "$log"
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

# Ends what this script has started, the youngest first; no other signal breaks in.
stop_started() {
    local i
    trap '' INT TERM HUP
    rm -f "$log"
    for (( i = ${#started_processes[@]} - 1; i >= 0; i-- )); do
        kill -TERM "${started_processes[i]}" 2> /dev/null || continue
        wait "${started_processes[i]}" 2> /dev/null || true
    done
}
