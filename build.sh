#!/usr/bin/env bash
# build.sh [--stand-in] WORKDIR [FIRST [LAST]]: the whole pipeline without knowing PowerShell. See README.md.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$here/tools/common.sh"

usage() {
    cat >&2 <<EOF
Usage: bash build.sh [--stand-in] WORKDIR [FIRST [LAST]]

Builds an Arch Linux VHD for Azure in WORKDIR, from where the last run stopped.
  FIRST, LAST   steps to run again, by number or name:
                1 New-ArchBootstrap, 2 New-ArchDisk, 3 Install-ArchBase, 4 Install-WaAgent, 5 ConvertTo-AzureVhd
  --stand-in    build against the tests' stand-in mirror, on a machine that cannot reach an Arch mirror
EOF
    exit "${1:-64}"
}

stand_in=
arguments=()
for argument in "$@"; do
    case $argument in
        --stand-in) stand_in=1 ;;
        -h | --help) usage 0 ;;
        -*) echo "build.sh: unknown option '$argument'." >&2; usage ;;
        *) arguments+=("$argument") ;;
    esac
done
(( ${#arguments[@]} >= 1 && ${#arguments[@]} <= 3 )) || usage
mkdir -p -- "${arguments[0]}"
work_directory=$(cd -- "${arguments[0]}" && pwd)

listen
need_dotnet
find_powershell
build_module
need_docker

# A work directory made with --stand-in stays with it: its settings say so.
if [[ -n $stand_in ]] || grep -qsF "$stand_in_mark" "$work_directory/settings.env"; then
    if [[ -e $work_directory/settings.env ]] && ! grep -qF "$stand_in_mark" "$work_directory/settings.env"; then
        die "'$work_directory/settings.env' is there already, and --stand-in writes its own. Use another work directory."
    fi
    make_stand_in
    serve_stand_in "$(stand_in_port "$work_directory/settings.env")"
    write_stand_in_settings "$work_directory/settings.env"
elif [[ ! -e $work_directory/settings.env ]]; then
    # A settings.env beside build.sh wins over the default.
    if [[ -e $here/settings.env ]]; then
        cp -- "$here/settings.env" "$work_directory/settings.env"
    else
        cp -- "$here/settings.env.default" "$work_directory/settings.env"
    fi
fi

script_arguments=(-Module "$module/ArchAzure.psd1" -WorkDirectory "$work_directory")
[[ ${#arguments[@]} -lt 2 ]] || script_arguments+=(-First "${arguments[1]}")
[[ ${#arguments[@]} -lt 3 ]] || script_arguments+=(-Last "${arguments[2]}")

status=0
run_powershell -File "$here/build.ps1" "${script_arguments[@]}" || status=$?
if (( status == 69 )) && ! grep -qsF "$stand_in_mark" "$work_directory/settings.env"; then
    cat >&2 <<EOF

An Arch server could not be reached. Two ways out:
  - name servers that can be reached: RELEASE_URL and MIRROR in $work_directory/settings.env
  - build against the stand-in mirror, made from Debian's packages: bash build.sh --stand-in OTHER_WORKDIR
EOF
fi
exit "$status"
