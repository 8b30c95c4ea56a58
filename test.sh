#!/usr/bin/env bash
# test.sh [--fast | --slow | --long | --only NAME | --fuzz SECONDS]: installs what the tests need, runs them, and stops what it started. See README.md.
set -uo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$here/tools/common.sh"

suites=(unit module build boot azure pipeline)
# What takes long and tells little new each time (images without a fix must fail as of old) is run only when asked for.
filter='Speed!=long'
options=()
case ${1:-} in
    '') ;;
    --fast) suites=(unit module) ;;
    --slow) suites=(build boot azure pipeline) ;;
    --long) suites=(build azure) filter='Speed=long' ;;
    --only) suites=("${2:?test.sh: --only needs a name: ${suites[*]}}") ;;
    --fuzz)
        export ARCHAZURE_FUZZ_SECONDS=${2:?test.sh: --fuzz needs the seconds for each parser}
        [[ $ARCHAZURE_FUZZ_SECONDS =~ ^[1-9][0-9]*$ ]] || { echo "test.sh: --fuzz needs a whole number of seconds" >&2; exit 64; }
        # The detailed log has the number of inputs.
        suites=(unit) filter='FullyQualifiedName~Fuzz|FullyQualifiedName~HostileImage' options=(--logger 'console;verbosity=detailed')
        ;;
    *)
        echo "Usage: bash test.sh [--fast | --slow | --long | --only unit|module|build|boot|azure|pipeline | --fuzz SECONDS]" >&2
        exit 64
        ;;
esac
wants() { [[ " ${suites[*]} " == *" $1 "* ]]; }

# Runs in one checkout come one after the other: they build in the same folders. The lock ends with this process, whatever it has started.
if command -v flock > /dev/null; then
    mkdir -p "$here/artifacts"
    flock --nonblock "$here/artifacts/test.lock" true || say "another test.sh runs in this checkout: waiting for its end"
    exec {turn}< <(exec flock "$here/artifacts/test.lock" bash -c 'echo; exec tail --pid="$1" --follow /dev/null' bash $$)
    read -r -u "$turn"
fi

work=$(mktemp -d "${TMPDIR:-/tmp}/archazure-test.XXXXXX")
# An engine of this run: beside another's, and away from what build.sh keeps. Nothing here uses its bridge.
engine_data=$work/docker engine_run=$work/run engine_options=(--bridge=none --iptables=false --ip-forward=false --ip-masq=false)
in_memory=
cleanup() {
    stop_started
    [[ -z $in_memory ]] || umount "$work" || umount --lazy "$work"
    rm -rf "$work"
}
listen
trap cleanup EXIT

need_dotnet
if is_debian; then
    # gnupg, tar, zstd ...: the data of the unit tests; the rest checks and boots the VHD with tools that are not ours.
    install_packages gnupg tar zstd xz-utils bzip2 lz4 gzip libarchive-tools e2fsprogs dosfstools mtools gdisk btrfs-progs \
        qemu-utils qemu-system-x86 ovmf ipxe-qemu git openssl openssh-client p7zip-full udftools util-linux curl cpio sudo \
        attr acl libcap2-bin strace
fi

# What the tests build is thrown away and need not wait for a disk, which would take as long as the building. Without root, or
# with less memory, it all lies on the disk.
work_in_memory() {
    local free
    free=$(awk '$1 == "MemAvailable:" { print int($2 / 1048576) }' /proc/meminfo)
    (( EUID == 0 && free >= 16 )) && mount -t tmpfs -o size=14g,mode=0755 tmpfs "$work" 2> /dev/null || return 0
    in_memory=1
    mkdir --mode=1777 "$work/tmp"
    export TMPDIR=$work/tmp
}

build_module
find_powershell
export ARCHAZURE_MODULE=$module

passed=0 failed=0 skipped=0
# summed LOG WORD: a number of the summary that closes a detailed log.
summed() {
    local number
    number=$(sed -nE "/^Total tests: /,\$ s/^ *$2: *([0-9]+)\$/\1/p" "$1" | tail -n 1)
    echo "${number:-0}"
}

# count LOG: adds the closing line of dotnet test, or the lines of a detailed log.
count() {
    local line
    line=$(grep -aE '^(Passed|Failed)! +- Failed:' "$1" | tail -n 1)
    if [[ $line =~ Failed:\ +([0-9]+),\ +Passed:\ +([0-9]+),\ +Skipped:\ +([0-9]+) ]]; then
        failed=$(( failed + BASH_REMATCH[1] ))
        passed=$(( passed + BASH_REMATCH[2] ))
        skipped=$(( skipped + BASH_REMATCH[3] ))
    elif grep -qa '^Total tests: ' "$1"; then
        failed=$(( failed + $(summed "$1" Failed) ))
        passed=$(( passed + $(summed "$1" Passed) ))
        skipped=$(( skipped + $(summed "$1" Skipped) ))
    else
        failed=$(( failed + 1 ))
    fi
}

# run_project NAME: builds and runs one project of tests.
run_project() {
    local log=$work/$1.log start=$SECONDS
    say "tests/$1"
    dotnet test "$here/tests/$1" --configuration Release --filter "$filter" ${options[@]+"${options[@]}"} 2>&1 < /dev/null |
        tee "$log" | grep --line-buffered -avE '^\s*$|^(Test run for|VSTest|A total of|Starting test)| -> /|Restored |up-to-date|Determining projects'
    local status=${PIPESTATUS[0]}
    count "$log"
    if (( status != 0 )) && ! grep -qaE '^(Failed!| *Failed: [1-9])' "$log"; then
        failed=$(( failed + 1 ))
    fi
    say "tests/$1: $(( SECONDS - start )) s"
}

# run_pester NAME: tests/NAME.Tests.ps1, in the PowerShell that build.sh uses too.
run_pester() {
    local output=$work/$1.log start=$SECONDS project=$here/tests/module/Pester.csproj pester
    say "tests/$1.Tests.ps1"
    pester=$(dotnet_packages)/pester/$(sed -nE 's/.*"Pester" Version="\[(.*)\]".*/\1/p' "$project")/tools
    [[ -d $pester ]] || quietly "Pester could not be restored." dotnet restore "$project"
    run_powershell -File "$here/tests/Run-Pester.ps1" -Pester "$pester/Pester.psd1" -Name "$1" 2>&1 < /dev/null | tee "$output"
    if [[ $(grep -aE '^[0-9]+ passed, [0-9]+ failed' "$output" | tail -n 1) =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed ]]; then
        passed=$(( passed + BASH_REMATCH[1] ))
        failed=$(( failed + BASH_REMATCH[2] ))
    else
        failed=$(( failed + 1 ))
    fi
    say "tests/$1.Tests.ps1: $(( SECONDS - start )) s"
}

! wants unit || run_project unit

! wants module || run_pester Module

if wants build || wants boot || wants azure || wants pipeline; then
    work_in_memory
    need_docker
    make_stand_in
    export ARCHAZURE_STANDIN=$stand_in_folder ARCHAZURE_IMAGE_WORKDIR=$work/image
    say "the image that the tests look at: build.sh --stand-in"
    if bash "$here/build.sh" --stand-in "$ARCHAZURE_IMAGE_WORKDIR"; then
        ! wants build || run_project build
        ! wants boot || run_project boot
        ! wants azure || run_project azure
        if wants pipeline; then
            serve_stand_in "$(stand_in_port "$ARCHAZURE_IMAGE_WORKDIR/settings.env")"
            export ARCHAZURE_STANDIN_URL=$stand_in_url
            run_pester Pipeline
        fi
    else
        failed=$(( failed + 1 ))
    fi
fi

say "${SECONDS} s"
if (( skipped > 0 )); then
    echo "$passed passed, $failed failed, $skipped skipped"
else
    echo "$passed passed, $failed failed"
fi
(( failed == 0 && passed > 0 ))
