#!/usr/bin/env bash
# tests/bench/run.sh [NAME...]: measures the module against its peers and its goals, and writes the tables of RESULTS.md. A name is one of
# build growth rerun convert boot memory import compress publish; without one, all of them. RUNS=N changes how often each is measured (3); SIZES
# the disks of 'growth' in GiB. As root on Debian: it starts a Docker engine and the stand-in mirror of its own, and removes both.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
source "$here/tools/common.sh"
source "$here/tests/bench/measure.sh"

all=(build growth rerun convert boot memory import compress publish)
names=("$@")
(( $# )) || names=("${all[@]}")
for name in "${names[@]}"; do
    [[ " ${all[*]} " == *" $name "* ]] || { echo "Usage: [RUNS=N] bash tests/bench/run.sh [${all[*]// /|}]..." >&2; exit 64; }
done
runs=${RUNS:-3}

work=$(mktemp -d "${TMPDIR:-/tmp}/archazure-bench.XXXXXX")
samples=$work/samples
touch "$samples"
engine_data=$work/docker engine_run=$work/run engine_options=(--bridge=none --iptables=false --ip-forward=false --ip-masq=false)
cleanup() {
    stop_started
    umount "$engine_run"/exec/netns/* 2> /dev/null || true
    leave_group
    rm -rf "$work"
}
listen
trap cleanup EXIT

# start_azurite: a blob service on this machine with a container; the container's address is in $storage, a signature for it in $sas.
start_azurite() {
    local account=devstoreaccount1 version=2021-12-02 ends key signature port=$(( 20000 + RANDOM % 10000 ))
    # Azurite's well-known key.
    key=Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==
    need_azurite
    node "$azurite" --blobHost 127.0.0.1 --blobPort "$port" --location "$work/azurite" --silent --disableTelemetry --skipApiVersionCheck \
        > "$work/azurite.log" 2>&1 < /dev/null &
    started_processes+=($!)
    ends=$(date -u -d '+1 day' +%Y-%m-%dT%H:%M:%SZ)
    # https://learn.microsoft.com/rest/api/storageservices/create-account-sas
    signature=$(printf '%s\n' "$account" rwdlac b sco '' "$ends" '' https,http "$version" '' |
        openssl dgst -sha256 -mac HMAC -macopt "hexkey:$(base64 -d <<< "$key" | od -An -v -tx1 | tr -d ' \n')" -binary | base64)
    sas="sv=$version&ss=b&srt=sco&sp=rwdlac&se=$ends&spr=https,http&sig=$(sed 's/+/%2B/g; s|/|%2F|g; s/=/%3D/g' <<< "$signature")"
    storage=http://127.0.0.1:$port/$account/images
    until curl --silent --fail --request PUT --header 'Content-Length: 0' "$storage?restype=container&$sas"; do
        kill -0 $! || die "Azurite has ended: $(< "$work/azurite.log")"
        sleep 0.2
    done
}

need_dotnet
install_packages curl openssl python3 zstd gdisk e2fsprogs dosfstools mtools qemu-utils qemu-system-x86 ovmf ipxe-qemu git mmdebstrap gpg docker.io
find_powershell
build_module
make_stand_in
serve_stand_in "$(stand_in_port /dev/null)"
"$stand_in_tool" settings "$stand_in_folder" "$stand_in_url" | sed '/^PACKAGE_CACHE=/d' > "$work/settings.env"

[[ " ${names[*]} " != *" publish "* ]] || start_azurite

# From here on all counts. The mirror and Azurite do not: they were started before.
join_group
export DOCKER_HOST=unix://$engine_run/docker.sock
need_docker
# The caches of the build's user, which a cold build has not; PowerShell's own stays.
export XDG_CACHE_HOME=$work/cache
mkdir "$XDG_CACHE_HOME"

prelude="
    \$ErrorActionPreference = 'Stop'
    \$ProgressPreference = 'SilentlyContinue'
    function Mark(\$name) { [Console]::Out.WriteLine(\"@ \$name\") }
    function Value(\$name, \$value) { [Console]::Out.WriteLine(\"= \$name {0:0.000}\" -f \$value) }
    function Peak { Value peak (([IO.File]::ReadAllLines('/proc/self/status') -match '^VmHWM' -replace '\D')[0] / 1024) }"

# powershell COMMANDS: in a session without the module. ours COMMANDS: with it.
powershell() { run_powershell -Command "$prelude; $1"; }
ours() { powershell "Import-Module '$module/ArchAzure.psd1'; $1"; }

# folder NAME: an empty work directory with the settings; no cache and no image is left of what was built before.
folder() {
    local path=$work/$1
    ! [[ -e $path/build.json ]] || ours "Remove-ArchBuild '$path' -Confirm:\$false" > /dev/null
    rm -rf "$path"
    find "$XDG_CACHE_HOME" -mindepth 1 -maxdepth 1 ! -name powershell -exec rm -rf {} +
    mkdir "$path"
    cp "$work/settings.env" "$path"
}

# finished_build: one is at $work/image then.
finished_build() {
    ! vhd image > /dev/null || return 0
    say "a build for the measurements"
    folder image
    ours "\$null = Invoke-ArchBuild '$work/image'"
}

vhd() { compgen -G "$work/$1/*.vhd"; }

# packages VHD: of its root, as pacman's database has them. The root begins behind 302 MiB.
packages() { debugfs -R 'ls -p /var/lib/pacman/local' "$1?offset=$(( 302 << 20 ))" 2> /dev/null | awk -F/ '$6 ~ /-[0-9.]+$/ { print $6 }' | sort; }

# Honest: the bare script's image has the same packages, and it meets the same rules.
check_bare() {
    [[ $(packages "$(vhd bare)" | wc -l) -gt 100 ]] || die "The bare script's image has no packages."
    diff <(packages "$(vhd ours)") <(packages "$(vhd bare)") >&2 || die "The bare script's image has other packages than the module's."
    [[ $(ours "Test-AzureVhd '$(vhd bare)' -Quiet") == True ]] || die "The bare script's image breaks a rule of Test-AzureVhd."
}

bench_build() {
    local i mkosi_note='' rest=base+agent+disk+root+end
    bash "$here/tests/bench/mkosi.sh" prepare "$work" > "$work/mkosi.log" 2>&1 || mkosi_note="mkosi could not be prepared: $(tail -n 1 "$work/mkosi.log")"
    for (( i = 1; i <= runs; i++ )); do
        folder ours
        sampled ours ours "Mark session; \$null = Invoke-ArchBuild '$work/ours' -Last 1; Mark bootstrap; \$null = Invoke-ArchBuild '$work/ours'; Mark rest"
        folder bare
        sampled bare bash "$here/tests/bench/bare.sh" "$work/bare"
        (( i > 1 )) || check_bare
        if [[ -z $mkosi_note ]]; then
            folder mkosi
            sampled mkosi bash "$here/tests/bench/mkosi.sh" build "$work"
        fi
    done
    compare "whole cold build" 1.2 ours session+bootstrap+rest "bare script" bare "bootstrap+$rest"
    if [[ -z $mkosi_note ]]; then
        mkosi_note="$(grep -o -m 1 'mkosi [0-9.]*' "$work/mkosi.log") in a prepared container"
        compare "the same" 1.0 ours session+bootstrap+rest "$mkosi_note" mkosi image
        compare "steps 2 to 5" - ours rest "$mkosi_note" mkosi image
    else
        row "whole cold build" "$(pair ours session+bootstrap+rest)" "$mkosi_note" - -
    fi
    compare "steps 2 to 5" 1.3 ours rest "bare script" bare "$rest"
    compare "step 1" - ours bootstrap "bare script" bare bootstrap
    write_table build "Docker $(docker version --format '{{.Server.Version}}'), disk of 30 GiB."
}

# medians STEP [wall|cpu]: one for each size, separated by commas.
medians() { for size in "${sizes[@]}"; do median "growth$size" "$@"; done | paste -s -d , | sed 's/,/, /g'; }

# spread MEDIANS [LEAST]: most by least; 1.00 if they differ by no more than LEAST.
spread() {
    tr -d , <<< "$1" | tr ' ' '\n' | sort -n | awk -v least="${2:-0}" '{ v[NR] = $1 } END { printf "%.2f", v[NR] - v[1] <= least ? 1 : v[NR] / v[1] }'
}

bench_growth() {
    local i size sizes=(${SIZES:-3 30 300 4096}) step wall cpu allocated
    folder growth
    ours "\$null = Invoke-ArchBuild '$work/growth' -Last 1"
    for (( i = 1; i <= runs; i++ )); do
        for size in "${sizes[@]}"; do
            sampled "growth$size" ours "
                \$common = @{ WorkDirectory = '$work/growth'; Force = \$true }
                \$null = Get-ArchBuild '$work/growth'; Mark start
                \$null = New-ArchDisk @common -SizeMiB $(( size * 1024 )); Mark New-ArchDisk
                \$null = Install-ArchBase @common; Mark Install-ArchBase
                \$null = Install-WaAgent @common; Mark Install-WaAgent
                \$null = ConvertTo-AzureVhd @common; Mark ConvertTo-AzureVhd"
            echo "growth$size allocated $(calculate "$(stat -c %b "$(vhd growth)") * 512 / 1048576") 0" >> "$samples"
        done
    done
    for step in New-ArchDisk Install-ArchBase Install-WaAgent ConvertTo-AzureVhd; do
        wall=$(medians "$step" wall) cpu=$(medians "$step" cpu)
        row "$step" "$wall s; CPU $cpu s" - "$(spread "$wall"), CPU $(spread "$cpu")" 1.15 "$(spread "$wall" 0.1)" "$(spread "$cpu" 0.1)"
    done
    allocated=$(medians allocated)
    row "MiB that the VHD takes on the disk" "$allocated" - "$(spread "$allocated")" 1.25 "$(spread "$allocated")"
    for step in New-ArchDisk Install-ArchBase Install-WaAgent ConvertTo-AzureVhd allocated; do
        for size in "${sizes[@]}"; do echo "${step/allocated/MiB_on_the_disk} $size $(median "growth$size" "$step")"; done
    done | plot > "$here/tests/bench/growth.svg"
    write_table growth "Disks of ${sizes[*]} GiB in this order; the ratio is that of most and least, and less than 0.1 s between them counts as none."
}

bench_rerun() {
    local i own
    finished_build
    for (( i = 1; i <= runs; i++ )); do
        sampled rerun ours "Mark session; \$null = Invoke-ArchBuild '$work/image' -First 4; Mark again"
        sampled nothing ours "\$null = Get-ArchBuild '$work/image'; Mark start; \$null = Invoke-ArchBuild '$work/image'; Mark nothing"
        sampled script bash "$here/build.sh" "$work/image"
        folder bare
        sampled bare-rerun bash "$here/tests/bench/bare.sh" "$work/bare"
    done
    own=$(calculate "$(median rerun again) - $(median bare-rerun agent+root)")
    limit "steps 4 and 5 of a finished build, without the agent's install and the file system's writing" 5 s "$own" \
        "bare script's share of the $(median rerun again) s: $(median bare-rerun agent+root) s"
    limit "nothing to do, in an open session" 0.5 s "$(median nothing nothing)"
    limit "nothing to do, build.sh" 2 s "$(median script all)"
    write_table rerun ""
}

# raw_disk: 3 GiB in 96 places of 30 GiB.
raw_disk() {
    local i
    [[ ! -e $work/raw.img ]] || return 0
    truncate -s 30G "$work/raw.img"
    for (( i = 0; i < 96; i++ )); do
        head -c 32M /dev/urandom | dd of="$work/raw.img" bs=1M seek=$(( i * 320 )) conv=notrunc iflag=fullblock status=none
    done
}

# convert COMMAND...: its output is $work/out; the time includes the sync.
convert() {
    rm -f "$work/out"
    sync
    echo '@ start'
    "$@"
    sync "$work/out"
    echo '@ copy'
}

bench_convert() {
    local i raw=$work/raw.img
    raw_disk
    for (( i = 1; i <= runs; i++ )); do
        rm -f "$work/out"
        sampled convert ours "\$null = Get-Command ConvertTo-AzureVhd; Mark start
            \$null = ConvertTo-AzureVhd -Path '$raw' -Destination '$work/out'; sync '$work/out'; Mark copy"
        sampled cp convert cp --sparse=always "$raw" "$work/out"
        sampled qemu-img convert qemu-img convert -f raw -O vpc -o subformat=fixed,force_size "$raw" "$work/out"
        rm -f "$work/out"
        cp --sparse=always "$raw" "$work/in-place.img"
        sampled in-place ours "Mark start; \$null = ConvertTo-AzureVhd -Path '$work/in-place.img' -Destination '$work/out' -InPlace; Mark convert"
    done
    rm -f "$work/out"
    compare "ConvertTo-AzureVhd -Path and sync" 1.05 convert copy "cp --sparse=always and sync, coreutils $(cp --version | sed -n '1s/.* //p')" cp copy
    compare "the same" 1.0 convert copy "qemu-img convert and sync, $(qemu-img --version | sed -n '1s/.*version \([0-9.]*\).*/\1/p')" qemu-img copy
    row "ConvertTo-AzureVhd -Path -InPlace" "$(pair in-place convert)" - - -
    write_table convert "3 GiB of data in a raw disk of 30 GiB."
}

# bare_qemu VHD GENERATION: a machine of the shape that Test-AzureVhd uses, with QEMU's own network and no platform; until the login prompt.
bare_qemu() {
    local options=(-machine pc -drive "if=none,id=os,file=$work/os.qcow2,cache=unsafe" -device ide-hd,drive=os) accelerator=(-accel tcg,thread=multi -cpu max)
    if [[ -w /dev/kvm ]] && grep -qwE 'vmx|svm' /proc/cpuinfo; then accelerator=(-accel kvm -cpu host); fi
    qemu-img create -q -f qcow2 -F vpc -b "$1" "$work/os.qcow2"
    if (( $2 == 2 )); then
        cp /usr/share/OVMF/OVMF_VARS_4M.fd "$work/vars.fd"
        options=(-machine q35 -drive if=pflash,format=raw,readonly=on,file=/usr/share/OVMF/OVMF_CODE_4M.fd -drive "if=pflash,format=raw,file=$work/vars.fd"
            -device virtio-scsi-pci -drive "if=none,id=os,file=$work/os.qcow2,cache=unsafe" -device scsi-hd,drive=os)
    fi
    : > "$work/serial"
    echo '@ start'
    qemu-system-x86_64 -nodefaults -display none -vga std "${accelerator[@]}" -smp 2 -m 1024 -device virtio-rng-pci "${options[@]}" \
        -netdev user,id=net -device virtio-net-pci,netdev=net,romfile= -serial "file:$work/serial" > /dev/null 2>&1 &
    until grep -qaE ' login: ?$' "$work/serial"; do
        kill -0 $!
        sleep 0.1
    done
    echo '@ prompt'
    kill $!
    wait $! 2> /dev/null || true
}

bench_boot() {
    local i generation image
    finished_build
    image=$(vhd image)
    for (( i = 1; i <= runs; i++ )); do
        for generation in 1 2; do
            sampled "qemu$generation" bare_qemu "$image" "$generation"
            sampled "boot$generation" ours "
                \$report = Test-AzureVhd '$image' -Boot -Generation $generation -Qemu Host
                if (-not \$report.Passed) { throw \$report.Error }
                foreach (\$name in 'LoginPrompt', 'Ready', 'Ssh') { Value \$name (\$report.Timeline | Where-Object Name -EQ \$name).Elapsed.TotalSeconds }"
        done
        sampled both ours "\$report = Test-AzureVhd '$image' -Boot -Generation 1,2 -Qemu Host; if (-not \$report.Passed) { throw \$report.Error }"
    done
    for generation in 1 2; do
        local prompt peer ratio
        prompt=$(median boot$generation LoginPrompt) peer=$(median qemu$generation prompt)
        ratio=$(calculate "$prompt / $peer")
        row "generation $generation, to the login prompt" "$prompt s (Ready $(median boot$generation Ready) s, ssh $(median boot$generation Ssh) s)" \
            "bare QEMU: $peer s" "$ratio" 1.05 "$ratio"
    done
    row "both generations in one call" "$(pair both all)" "one after the other: $(calculate "$(median boot1 all) + $(median boot2 all)") s" \
        "$(calculate "$(median both all) / ($(median boot1 all) + $(median boot2 all))")" -
    write_table boot "QEMU $(qemu-img --version | sed -n '1s/.*version \([0-9.]*\).*/\1/p') of the host, $([[ -w /dev/kvm ]] && echo KVM || echo without KVM)."
}

# wide_bootstrap: the release as real ones are, made with a window of 128 MiB, signed with a key of our own; adds it to the settings of $1.
wide_bootstrap() {
    local archive=$work/archlinux-bootstrap-2026.11.01-x86_64.tar.zst
    if [[ ! -e $archive.sig ]]; then
        export GNUPGHOME=$work/gnupg
        mkdir -m 0700 "$GNUPGHOME"
        curl --silent --fail --location "$stand_in_url/iso/latest/archlinux-bootstrap-x86_64.tar.zst" | zstd -q -dc | zstd -q -3 --long=27 -o "$archive"
        gpg --batch --quiet --pinentry-mode loopback --passphrase '' --quick-generate-key bench ed25519 sign never
        gpg --batch --quiet --detach-sign "$archive"
        gpg --batch --quiet --armor --export bench > "$work/bench.asc"
        gpgconf --kill all
    fi
    printf 'BOOTSTRAP_PATH=%s\nRELEASE_KEY=%s\n' "$archive" "$work/bench.asc" >> "$1/settings.env"
}

bench_memory() {
    local i idle
    for (( i = 1; i <= runs; i++ )); do
        sampled memory-idle powershell Peak
        folder image
        sed -i '/^RELEASE_KEY=/d' "$work/image/settings.env"
        wide_bootstrap "$work/image"
        sampled memory-build ours "\$null = Invoke-ArchBuild '$work/image'; Peak"
        sampled memory-test ours "\$null = Test-AzureVhd '$(vhd image)'; Peak"
    done
    idle=$(median memory-idle peak)
    limit "whole build from a release with a window of 128 MiB, peak over an idle session" 200 MiB "$(calculate "$(median memory-build peak) - $idle" %.0f)" "idle: $idle MiB"
    limit "Test-AzureVhd, the same" 64 MiB "$(calculate "$(median memory-test peak) - $idle" %.0f)" "idle: $idle MiB"
    write_table memory "The most memory (VmHWM) of the PowerShell process."
}

bench_import() {
    local i
    over() { calculate "($(median "$1" all) - $(median import-idle all)) * 1000" %.0f; }
    finished_build
    for (( i = 1; i <= 3 * runs; i++ )); do
        sampled import-idle powershell ''
        sampled import ours "\$null = Get-ArchBuild '$work/image'"
        sampled import-only ours ''
        # Microsoft's own binary module of one cmdlet, which comes with PowerShell.
        sampled import-peer powershell 'Import-Module Microsoft.PowerShell.ThreadJob'
    done
    limit "Import-Module and the first cmdlet, over an empty session" 150 ms "$(calculate "($(median import all) - $(median import-idle all)) * 1000" %.0f)" \
        "empty session: $(median import-idle all) s"
    row "Import-Module alone, over an empty session" "$(over import-only) ms" "Microsoft.PowerShell.ThreadJob (one cmdlet): $(over import-peer) ms" \
        "$(calculate "$(over import-only) / $(over import-peer)" %.2f)" -
    write_table import "$(powershell '"PowerShell $($PSVersionTable.PSVersion)"'), $(( 3 * runs )) runs."
}

bench_compress() {
    local i size
    if [[ $(ours "(Get-Command ConvertTo-AzureVhd).Parameters.ContainsKey('Compress')") != True ]]; then
        say "ConvertTo-AzureVhd has no -Compress: skipped"
        return
    fi
    raw_disk
    for (( i = 1; i <= runs; i++ )); do
        for size in 30 4096; do
            rm -f "$work"/out.vhd*
            truncate -s ${size}G "$work/raw.img"
            sampled "compress$size" ours "Mark start; \$null = ConvertTo-AzureVhd -Path '$work/raw.img' -Destination '$work/out.vhd' -Compress; Mark compress"
        done
        truncate -s 30G "$work/raw.img"
        rm -f "$work"/out.vhd*
        sampled zstd bash -c "echo '@ start'; tar -c --sparse -C '$work' raw.img | zstd -q -T0 -o '$work/out'; sync '$work/out'; echo '@ compress'"
        rm -f "$work/out"
    done
    compare "-Compress, 30 GiB" - compress30 compress "tar --sparse and $(zstd --version | grep -o 'v[0-9.]*') -T0" zstd compress
    compare "-Compress, 4 TiB with the same data" 1.15 compress4096 compress "30 GiB" compress30 compress
    write_table compress "3 GiB of random data."
}

# data_vhd MIB: $work/data.vhd, 30 GiB with so much random data in pieces of 32 MiB.
data_vhd() {
    local i
    rm -f "$work"/data.*
    truncate -s 30G "$work/data.raw"
    for (( i = 0; i < $1 / 32; i++ )); do
        head -c 32M /dev/urandom | dd of="$work/data.raw" bs=1M seek=$(( i * 310 )) conv=notrunc iflag=fullblock status=none
    done
    ours "\$null = ConvertTo-AzureVhd -Path '$work/data.raw' -Destination '$work/data.vhd' -InPlace"
}

# bare_puts: the same data, in requests of 4 MiB, eight at a time, by one curl; without looking for it, checksums and checks.
bare_puts() {
    local length offset i
    length=$(stat -c %s "$work/data.vhd")
    curl --silent --fail --request PUT --header 'Content-Length: 0' --header 'x-ms-blob-type: PageBlob' --header "x-ms-blob-content-length: $length" \
        --header 'x-ms-version: 2021-12-02' "$storage/bare.vhd?$sas"
    for (( i = 0; i < $1 / 4; i++ )); do
        offset=$(( (i / 8 * 310 + i % 8 * 4) << 20 ))
        printf 'next\nurl = "%s/bare.vhd?comp=page&%s"\nrequest = PUT\nfail\ndata-binary = "@%s"\n' "$storage" "$sas" "$work/pieces/$(printf %05d $i)"
        printf 'header = "%s"\n' 'x-ms-page-write: update' 'x-ms-version: 2021-12-02' "x-ms-range: bytes=$offset-$(( offset + (4 << 20) - 1 ))" \
            'Content-Type: application/octet-stream' 'Expect:'
    done | sed 1d > "$work/puts"
    curl --silent --show-error --parallel --parallel-max 8 --config "$work/puts" > "$work/puts.log" 2>&1
    ! grep . "$work/puts.log" || return 1
    curl --silent --fail --request PUT --header 'x-ms-page-write: update' --header 'x-ms-version: 2021-12-02' \
        --header "x-ms-range: bytes=$(( length - 512 ))-$(( length - 1 ))" --data-binary "@$work/footer" "$storage/bare.vhd?comp=page&$sas"
}

# Cuts the data into the files that bare_puts sends.
cut_pieces() {
    local i
    rm -rf "$work/pieces"
    mkdir "$work/pieces"
    for (( i = 0; i < $1 / 4; i++ )); do
        dd if="$work/data.vhd" of="$work/pieces/$(printf %05d $i)" bs=4M count=1 iflag=skip_bytes skip=$(( (i / 8 * 310 + i % 8 * 4) << 20 )) status=none
    done
    tail -c 512 "$work/data.vhd" > "$work/footer"
}

# non_zero FILE: the bytes of its blocks of 4096 that are not all zeros.
non_zero() {
    python3 -c '
import os, sys
file = os.open(sys.argv[1], os.O_RDONLY); end = os.fstat(file).st_size; at = count = 0; zero = bytes(4096)
while at < end:
    try: at = os.lseek(file, at, os.SEEK_DATA)
    except OSError: break
    hole = os.lseek(file, at, os.SEEK_HOLE); at = at // 4096 * 4096
    while at < hole:
        block = os.pread(file, 4096, at); count += len(block) * (block != zero[:len(block)]); at += 4096
print(count)' "$1"
}

bench_publish() {
    local i size az='' sent idle
    # .NET lets as much garbage grow as the processor's largest cache holds, which is 300 MiB on some servers.
    local -x DOTNET_GCgen0size=1000000
    install_packages azure-cli && az="az, $(az version --output tsv --query '"azure-cli"')" || say "azure-cli cannot be installed: left out"
    finished_build
    sent=$(ours "(Publish-AzureVhd '$(vhd image)' -BlobUri '$storage/image.vhd?$sas' -Force).SentBytes" | tail -n 1)
    limit "bytes sent of a built image by those of its blocks that are not zeros" 1.02 "" "$(calculate "$sent / $(non_zero "$(vhd image)")" %.3f)" "$sent bytes"
    for (( i = 1; i <= runs; i++ )); do sampled memory-idle powershell Peak; done
    idle=$(median memory-idle peak)
    for size in 512 3072; do
        data_vhd "$size"
        cut_pieces "$size"
        for (( i = 1; i <= runs; i++ )); do
            sampled "publish$size" ours "\$null = Get-Command Publish-AzureVhd; Mark start
                \$null = Publish-AzureVhd '$work/data.vhd' -BlobUri '$storage/ours.vhd?$sas' -SkipTest -Force; Mark publish; Peak"
            sampled "puts$size" bash -c "$(declare -f bare_puts); work='$work' storage='$storage' sas='$sas'; echo '@ start'; bare_puts $size; echo '@ publish'"
            [[ -z $az ]] || sampled "az$size" az storage blob upload --type page --file "$work/data.vhd" --blob-url "$storage/az.vhd" --sas-token "$sas" \
                --overwrite --only-show-errors --output none
        done
        compare "$size MiB of data" 1.2 "publish$size" publish "curl, the same requests, eight at a time" "puts$size" publish
        [[ -z $az ]] || compare "the same" 0.5 "publish$size" publish "$az" "az$size" all
        limit "CPU seconds a GiB sent" 5 s "$(calculate "$(median "publish$size" publish cpu) * 1024 / $size")"
        limit "the most memory over an idle session" 64 MiB "$(calculate "$(median "publish$size" peak) - $idle" %.0f)" "idle: $idle MiB"
    done
    rm -rf "$work/pieces" "$work"/data.*
    write_table publish "To $(node -p 'require(process.argv[1]).name + " " + require(process.argv[1]).version' "$here/artifacts/azurite/node_modules/azurite/package.json") on the same machine; disks of 30 GiB. The garbage collector's budget is 16 MiB (DOTNET_GCgen0size)."
}

commit=$(git -C "$here" rev-parse --short HEAD 2> /dev/null || echo 'no commit')
machine="$(nproc) cores of $(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -n 1), $(awk '$1 == "MemTotal:" { printf "%.0f GiB", $2 / 1048576 }' /proc/meminfo), Linux $(uname -r)"
# Compiles what the first session would else compile.
ours '' > /dev/null
for name in "${names[@]}"; do
    say "$name"
    "bench_$name"
done
