#!/usr/bin/env bash
# test.sh [--fast | --slow | --long | --only NAME | --fuzz SECONDS]: installs what the tests need, runs them, and stops what it started. See README.md.
set -uo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$here/tools/common.sh"

suites=(unit module build publish azure pipeline)
# What takes long and tells little new each time (images without a fix must fail as of old) is run only when asked for.
filter='Speed!=long'
options=()
case ${1:-} in
    '') ;;
    --fast) suites=(unit module) ;;
    --slow) suites=(build publish azure pipeline) ;;
    --long) suites=(build azure trixie sid) filter='Speed=long' ;;
    --only) suites=("${2:?test.sh: --only needs a name: ${suites[*]}}") ;;
    --fuzz)
        export ARCHAZURE_FUZZ_SECONDS=${2:?test.sh: --fuzz needs the seconds for each parser}
        [[ $ARCHAZURE_FUZZ_SECONDS =~ ^[1-9][0-9]*$ ]] || { echo "test.sh: --fuzz needs a whole number of seconds" >&2; exit 64; }
        # The detailed log has the number of inputs.
        suites=(unit) filter='FullyQualifiedName~Fuzz|FullyQualifiedName~HostileImage' options=(--logger 'console;verbosity=detailed')
        ;;
    *)
        echo "Usage: bash test.sh [--fast | --slow | --long | --only unit|module|build|publish|azure|pipeline|trixie|sid | --fuzz SECONDS]" >&2
        exit 64
        ;;
esac
wants() { [[ " ${suites[*]} " == *" $1 "* ]]; }
# wanted SUITE...: those of them that are to run.
wanted() { for name in "$@"; do ! wants "$name" || echo "$name"; done; }

# Runs in one checkout come one after the other: they build in the same folders. The lock ends with this process, whatever it has started.
if command -v flock > /dev/null; then
    mkdir -p "$here/artifacts"
    flock --nonblock "$here/artifacts/test.lock" true || say "another test.sh runs in this checkout: waiting for its end"
    exec {turn}< <(exec flock "$here/artifacts/test.lock" bash -c 'echo; exec tail --pid="$1" --sleep-interval=0.2 --follow /dev/null' bash $$)
    read -r -u "$turn"
fi

work=$(mktemp -d "${TMPDIR:-/tmp}/archazure-test.XXXXXX")
# An engine of this run: beside another's, and away from what build.sh keeps. Nothing here uses its bridge.
engine_data=$work/docker engine_run=$work/run engine_options=(--bridge=none --iptables=false --ip-forward=false --ip-masq=false)
in_memory= beside=
cleanup() {
    [[ -z $beside ]] || kill -TERM -- "-$beside" 2> /dev/null
    stop_started
    [[ -z $in_memory ]] || umount "$work" 2> /dev/null || umount --lazy "$work"
    rm -rf "$work"
}
listen
trap cleanup EXIT

need_dotnet
if is_debian; then
    # gnupg, tar, zstd ...: the data of the unit tests; the rest checks and boots the VHD with tools that are not ours.
    install_packages gnupg tar zstd fsverity xz-utils bzip2 lz4 gzip libarchive-tools e2fsprogs dosfstools mtools gdisk btrfs-progs \
        qemu-utils qemu-system-x86 ovmf ipxe-qemu git openssl openssh-client p7zip-full udftools util-linux curl cpio sudo \
        attr acl libcap2-bin strace procps
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

slow=$(wanted azure build publish pipeline trixie sid)
[[ -z $slow ]] || work_in_memory
build_module
[[ -z $slow ]] || build_stand_in_tool
find_powershell
export ARCHAZURE_MODULE=$module

# One after the other: they build in the same folders. So nothing else may be built meanwhile.
build_tests() {
    local name
    say "building the tests"
    for name in $(wanted unit azure build publish); do
        quietly "tests/$name could not be built." dotnet build "$here/tests/$name" --configuration Release
    done
    touch "$work/tests"
}

# summed LOG WORD: a number of the summary that closes a detailed log.
summed() {
    local number
    number=$(sed -nE "/^Total tests: /,\$ s/^ *$2: *([0-9]+)\$/\1/p" "$1" | tail -n 1)
    echo "${number:-0}"
}

# counts LOG STATUS: how many tests passed, failed and were skipped, by the closing line of dotnet test or Pester, or by the lines of a
# detailed log. A status that no failed test explains is a failure too.
counts() {
    local line passed=0 failed=0 skipped=0
    line=$(grep -aE '^((Passed|Failed)! +- Failed:|[0-9]+ passed, [0-9]+ failed)' "$1" | tail -n 1)
    if [[ $line =~ Failed:\ +([0-9]+),\ +Passed:\ +([0-9]+),\ +Skipped:\ +([0-9]+) ]]; then
        failed=${BASH_REMATCH[1]} passed=${BASH_REMATCH[2]} skipped=${BASH_REMATCH[3]}
    elif [[ $line =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed ]]; then
        passed=${BASH_REMATCH[1]} failed=${BASH_REMATCH[2]}
    else
        passed=$(summed "$1" Passed) failed=$(summed "$1" Failed) skipped=$(summed "$1" Skipped)
    fi
    (( $2 == 0 || failed > 0 )) || failed=1
    echo "$passed $failed $skipped"
}

# run SUITE: shows its output and adds its line to the results.
run() {
    local output=$work/$1.log start=$SECONDS status
    say "$1"
    "run_$1" 2>&1 < /dev/null | tee "$output" |
        grep --line-buffered -avE '^\s*$|^(Test run for|VSTest|A total of|Starting test)'
    status=${PIPESTATUS[0]}
    echo "$1 $(( SECONDS - start )) $(counts "$output" "$status")" >> "$work/results"
}

run_project() {
    dotnet test "$here/tests/$1" --no-build --configuration Release --filter "$filter" ${options[@]+"${options[@]}"}
}

# run_debian SUITE: an image made from another suite of Debian's starts too, sid's with the full kernel. The agent stays that of the
# tests: trixie's does not run on trixie's python without a package that Arch does not have.
run_debian() {
    local image=$work/$1
    export ARCHAZURE_STANDIN_SUITE=$1
    [[ $1 != sid ]] || export ARCHAZURE_STANDIN_KERNEL=amd64
    make_stand_in
    export ARCHAZURE_STANDIN=$stand_in_folder
    bash "$here/build.sh" --stand-in "$image" 1 3 || return
    sed --in-place '/^WAAGENT_/d' "$image/settings.env"
    grep ^WAAGENT_ "$ARCHAZURE_IMAGE_WORKDIR/settings.env" >> "$image/settings.env"
    bash "$here/build.sh" "$image" 4 || return
    ARCHAZURE_IMAGE_WORKDIR=$image dotnet test "$here/tests/azure" --configuration Release --filter FullyQualifiedName~CmdletTests
    local status=$?
    rm -rf "$image"
    return "$status"
}

# run_pester NAME: tests/NAME.Tests.ps1, in the PowerShell that build.sh uses too.
run_pester() {
    local project=$here/tests/module/Pester.csproj pester
    pester=$(dotnet_packages)/pester/$(sed -nE 's/.*"Pester" Version="\[(.*)\]".*/\1/p' "$project")/tools
    [[ -d $pester ]] || quietly "Pester could not be restored." dotnet restore "$project"
    run_powershell -File "$here/tests/Run-Pester.ps1" -Pester "$pester/Pester.psd1" -Name "$1"
}

run_unit() { run_project unit; }
run_module() { run_pester Module; }
run_azure() { run_project azure; }
run_build() { run_project build; }
run_publish() {
    need_azurite
    export ARCHAZURE_AZURITE=$azurite
    run_project publish
}
run_pipeline() { run_pester Pipeline; }
run_trixie() { run_debian trixie; }
run_sid() { run_debian sid; }
run_image() { bash "$here/build.sh" --stand-in "$ARCHAZURE_IMAGE_WORKDIR"; }

# image_is_there: waits for the end of the image's build, and takes over what the tests of it need.
image_is_there() {
    until [[ -e $work/environment ]]; do sleep 0.2; done
    source "$work/environment"
    [[ -e $ARCHAZURE_IMAGE_WORKDIR/FSVERITYSUMS ]]
}

# beside SUITE...: builds the tests and runs them one after another beside what follows. They are a group of processes, which ends with
# this script.
beside() {
    set -m
    (
        set +m
        build_tests
        for name in "$@"; do
            [[ $name == unit || $name == module ]] || image_is_there || break
            run "$name"
        done
    ) > "$work/beside.log" 2>&1 < /dev/null &
    beside=$!
    set +m
}

# tests_are_built: waits for that.
tests_are_built() {
    until [[ -e $work/tests ]]; do
        kill -0 "$beside" 2> /dev/null || return
        sleep 0.2
    done
}

# Shows their output, from its beginning to its end.
join() {
    [[ -z $beside ]] || tail --pid="$beside" --sleep-interval=0.5 --lines=+1 --follow "$work/beside.log"
    beside=
}

# What takes longest begins as soon as the image is there; the other core builds the tests meanwhile, and then has the rest.
beside $(wanted unit module publish azure)
if [[ -n $slow ]]; then
    need_docker
    make_stand_in
    export ARCHAZURE_STANDIN=$stand_in_folder ARCHAZURE_IMAGE_WORKDIR=$work/image
    # An emulated machine takes one of two cores, as most builds do: one beside them, then two at once.
    export ARCHAZURE_BUSY_FILE=$work/busy
    touch "$ARCHAZURE_BUSY_FILE"
    run image
    export -p | sed 's/^declare -x/export/' > "$work/environment.part"
    mv "$work/environment.part" "$work/environment"
    if [[ -e $ARCHAZURE_IMAGE_WORKDIR/FSVERITYSUMS ]]; then
        ! wants build || ! tests_are_built || run build
        if wants pipeline; then
            serve_stand_in "$(stand_in_port "$ARCHAZURE_IMAGE_WORKDIR/settings.env")"
            export ARCHAZURE_STANDIN_URL=$stand_in_url
            run pipeline
        fi
        rm "$ARCHAZURE_BUSY_FILE"
        join
        for name in $(wanted trixie sid); do run "$name"; done
    fi
fi
join

for name in "${suites[@]}"; do
    grep -q "^$name " "$work/results" || echo "$name 0 0 1 0" >> "$work/results"
done
read -r passed failed skipped < <(awk '{ passed += $3; failed += $4; skipped += $5 } END { print passed, failed, skipped }' "$work/results")
say "${SECONDS} s"
awk '{ printf "%-10s %5d s %6d passed %4d failed\n", $1, $2, $3, $4 }' "$work/results"
if (( skipped > 0 )); then
    echo "$passed passed, $failed failed, $skipped skipped"
else
    echo "$passed passed, $failed failed"
fi
(( failed == 0 && passed > 0 ))
