#!/usr/bin/env bash
# tests/bench/convert.sh RAW: seconds of ConvertTo-AzureVhd (copy, and in place) against qemu-img and cp on the same sparse raw disk,
# in one run, as ratios; the best of three each. Says nothing in CI: this machine's neighbours are noisy.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
raw=${1:?usage: tests/bench/convert.sh RAW_DISK}
work=$(mktemp -d "$(dirname "$(realpath "$raw")")/bench.XXXXXX")
trap 'rm -rf "$work"' EXIT
source "$here/tools/common.sh"
need_dotnet
find_powershell

# best COMMAND...: seconds, the least of three runs; $work/out is removed before each.
best() {
    local least= start end i
    for i in 1 2 3; do
        rm -f "$work"/out*
        start=$(date +%s%N)
        "$@" > /dev/null
        end=$(date +%s%N)
        if [[ -z $least ]] || (( end - start < least )); then least=$(( end - start )); fi
    done
    awk "BEGIN { printf \"%.2f\", $least / 1e9 }"
}

# The module measures itself inside the session: the shell's own start is not the question.
module_seconds() { # PARAMETERS
    run_powershell -Command "
        \$ProgressPreference = 'SilentlyContinue'
        Import-Module '$here/artifacts/ArchAzure/ArchAzure.psd1'
        \$least = [double]::MaxValue
        foreach (\$i in 1..3) {
            [IO.File]::Delete('$work/out.vhd')
            \$clock = [Diagnostics.Stopwatch]::StartNew()
            \$null = ConvertTo-AzureVhd -Path $1 -Destination '$work/out.vhd' $2
            \$least = [Math]::Min(\$least, \$clock.Elapsed.TotalSeconds)
            if ('$2') { [IO.File]::Move('$work/out.vhd', $1); [IO.File]::OpenHandle($1, 'Open', 'ReadWrite').Dispose(); \$s = [IO.FileStream]::new($1, 'Open'); \$s.SetLength(\$s.Length - 512); \$s.Dispose() }
        }
        [Console]::Out.Write(\$least.ToString('0.00'))"
}

qemu=$(best qemu-img convert -f raw -O vpc -o subformat=fixed,force_size "$raw" "$work/out")
copy=$(best cp --sparse=always "$raw" "$work/out")
own=$(module_seconds "'$(realpath "$raw")'" '')
cp --sparse=always "$raw" "$work/in-place.img"
in_place=$(module_seconds "'$work/in-place.img'" -InPlace)
printf '%-32s %8s %s\n' '' seconds 'of qemu-img'
for row in "qemu-img convert -O vpc:$qemu" "cp --sparse=always:$copy" "ConvertTo-AzureVhd:$own" "ConvertTo-AzureVhd -InPlace:$in_place"; do
    awk -v name="${row%%:*}" -v s="${row##*:}" -v base="$qemu" 'BEGIN { printf "%-32s %8.2f %5.2f\n", name, s, s / base }'
done
