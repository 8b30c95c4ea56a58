#!/usr/bin/env bash
# tests/bench/boot.sh VHD [RUNS]: seconds from the machine's start to the login prompt, with Test-AzureVhd -Boot and with a bare QEMU of
# the same shape (QEMU's own network, no platform, no DVD), alternately in one run; the best of RUNS (2) each, for both generations. Then
# the harness' own seconds to Ready and to the login over ssh, and the most memory its process ever held. Debian's paths of QEMU and OVMF.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
vhd=$(realpath "${1:?usage: tests/bench/boot.sh VHD [RUNS]}")
runs=${2:-2}
work=$(mktemp -d)
trap 'kill $(jobs -p) 2> /dev/null || true; rm -rf "$work"' EXIT
source "$here/tools/common.sh"
need_dotnet
find_powershell
accelerator=(-accel tcg,thread=multi -cpu max)
if [[ -w /dev/kvm ]] && grep -qwE 'vmx|svm' /proc/cpuinfo; then accelerator=(-accel kvm -cpu host); fi

# bare GENERATION: seconds to the login prompt on the serial port.
bare() {
    local start options=(-machine pc -drive "if=none,id=os,file=$work/os.qcow2,cache=unsafe" -device ide-hd,drive=os)
    qemu-img create -q -f qcow2 -F vpc -b "$vhd" "$work/os.qcow2"
    if (( $1 == 2 )); then
        cp /usr/share/OVMF/OVMF_VARS_4M.fd "$work/vars.fd"
        options=(-machine q35 -drive if=pflash,format=raw,readonly=on,file=/usr/share/OVMF/OVMF_CODE_4M.fd -drive "if=pflash,format=raw,file=$work/vars.fd"
            -device virtio-scsi-pci -drive "if=none,id=os,file=$work/os.qcow2,cache=unsafe" -device scsi-hd,drive=os)
    fi
    : > "$work/serial"
    start=$(date +%s%N)
    qemu-system-x86_64 -nodefaults -display none -vga std "${accelerator[@]}" -smp 2 -m 1024 -device virtio-rng-pci "${options[@]}" \
        -netdev user,id=net -device virtio-net-pci,netdev=net,romfile= -serial "file:$work/serial" 2> /dev/null &
    until grep -qaE ' login: ?$' "$work/serial"; do
        kill -0 $!
        sleep 0.1
    done
    awk "BEGIN { printf \"%.1f\", ($(date +%s%N) - $start) / 1e9 }"
    kill $!
    wait $! 2> /dev/null || true
}

# harness GENERATION: seconds to LoginPrompt, Ready and Ssh, and MiB.
harness() {
    run_powershell -Command "
        \$ProgressPreference = 'SilentlyContinue'
        Import-Module '$here/artifacts/ArchAzure/ArchAzure.psd1'
        \$report = Test-AzureVhd '$vhd' -Boot -Generation $1
        if (-not \$report.Passed) { throw \$report.Error }
        \$seconds = foreach (\$name in 'LoginPrompt', 'Ready', 'Ssh') { (\$report.Timeline | Where-Object Name -eq \$name).Elapsed.TotalSeconds.ToString('0.0') }
        \$peak = [int]([IO.File]::ReadAllLines('/proc/self/status') -match '^VmHWM' -replace '\D')[0]
        [Console]::Out.Write(\"\$seconds \$([int](\$peak / 1024))\")"
}

printf '%-12s %14s %14s %8s %8s %8s %8s\n' '' 'bare: prompt' 'ours: prompt' ratio Ready ssh MiB
for generation in 1 2; do
    bare_best= ours_best=
    for (( run = 0; run < runs; run++ )); do
        seconds=$(bare "$generation")
        bare_best=$(printf '%s\n' $bare_best "$seconds" | sort -n | head -n 1)
        line=$(harness "$generation")
        ours_best=$(printf '%s\n' ${ours_best:+"$ours_best"} "$line" | sort -n | head -n 1)
    done
    read -r prompt ready ssh memory <<< "$ours_best"
    printf '%-12s %14s %14s %8s %8s %8s %8s\n' "generation $generation" "$bare_best" "$prompt" \
        "$(awk "BEGIN { printf \"%.2f\", $prompt / $bare_best }")" "$ready" "$ssh" "$memory"
done
