#!/usr/bin/env bash
# tests/bench/bare.sh WORKDIR: the image of the module's pipeline, made by a plain script in one container; run.sh measures the module
# against it. The same settings.env, packages, layers, agent and disk; no snapshot, no resume, no retry, no checks. As root, ext4 and
# waagent only. Makes WORKDIR/bare.vhd and bare.log. A line '@ NAME' is written when a phase has ended, the seconds at the end.
set -euo pipefail
umask 022

list() { sed -E 's/ *#.*//; /^ *$/d' "$@"; }
uuid() { cat /proc/sys/kernel/random/uuid; }

# lay FOLDER: a layer's files or templates into the target, with the owner and the modes that module/layers/README.md names.
lay() {
    local copy=/run/lay names
    [[ -d $1 ]] || return 0
    rm -rf "$copy" && cp -r "$1" "$copy"
    if [[ $1 == */templates ]]; then
        names=$(for name in "${!ARCHAZURE_@}"; do printf 's|${%s}|%s|g\n' "$name" "${!name}"; done)
        find "$copy" -type f -exec sed -i "$names" {} +
    fi
    chmod -R u=rwX,go=rX "$copy"
    [[ ! -d $copy/etc/sudoers.d ]] || chmod 0440 "$copy"/etc/sudoers.d/*
    tar -C "$copy" --owner=0 --group=0 -c . | tar -C /target -x --no-overwrite-dir --keep-directory-symlink
}

# patch FILE OFFSET BYTES: writes bytes, given in hexadecimal digits, into a file.
patch() { printf "$(sed 's/../\\x&/g' <<< "$3")" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none; }

# le64 NUMBER: its eight bytes, the least first, in hexadecimal digits.
le64() { printf '%016x' "$1" | fold -w 2 | tac | tr -d '\n'; }

# footer: of a fixed VHD of DISK_SIZE MiB in hexadecimal digits; Virtual Hard Disk Image Format Specification 1.0.
footer() {
    local bytes=$(( DISK_SIZE << 20 )) sectors=$(( DISK_SIZE * 2048 )) tracks heads=16 spt hex sum=0 i
    (( sectors <= 65535 * 16 * 255 )) || sectors=$(( 65535 * 16 * 255 ))
    if (( sectors >= 65535 * 16 * 63 )); then
        spt=255 tracks=$(( sectors / 255 ))
    else
        spt=17 tracks=$(( sectors / 17 )) heads=$(( (sectors / 17 + 1023) / 1024 ))
        (( heads >= 4 )) || heads=4
        (( tracks < heads * 1024 && heads <= 16 )) || { spt=31 heads=16 tracks=$(( sectors / 31 )); }
        (( tracks < heads * 1024 )) || { spt=63 tracks=$(( sectors / 63 )); }
    fi
    hex=$(printf '636f6e65637469780000000200010000ffffffffffffffff%08x77696e20000a00005769326b%016x%016x%04x%02x%02x00000002' \
        $(( $(date +%s) - 946684800 )) "$bytes" "$bytes" $(( tracks / heads )) "$heads" "$spt")00000000$(uuid | tr -d -)
    for (( i = 0; i < ${#hex}; i += 2 )); do (( sum += 16#${hex:i:2} )) || true; done
    printf '%s%08x%s' "${hex:0:128}" $(( ~sum & 0xffffffff )) "${hex:136}"
}

in_container() {
    local disk=/out/bare.vhd bios=$BOOT_START esp=$(( BOOT_START + 2048 )) root=$(( BOOT_START + 301 * 2048 )) end=$(( (DISK_SIZE - 1) * 2048 ))
    local layer enable='systemctl enable $(sed "s/ *#.*//" "/run/layers/$layer/services"); bash "/run/layers/$layer/configure"'

    printf 'Server = %s\n' "$MIRROR" > /etc/pacman.d/mirrorlist
    sed -i 's/^CheckSpace/DisableSandbox/' /etc/pacman.conf
    pacman-key --init
    pacman-key --populate archlinux
    pacman -Sy --noconfirm --needed --noprogressbar archlinux-keyring
    pacman -Su --noconfirm --needed --noprogressbar arch-install-scripts gptfdisk dosfstools mtools e2fsprogs git
    echo '@ bootstrap' >&3

    # The target sees the container's /run: arch-chroot binds it.
    cp -r /layers /run/layers
    mkdir -p /target/{dev,run,etc}
    cp -r /layers/azure/files/etc/mkinitcpio.conf.d /target/etc/
    pacstrap -c -G -M /target --noprogressbar "$ARCHAZURE_KERNEL" $PACKAGES $(list /layers/{base,azure,waagent}/packages | sort -u)
    for layer in base azure; do
        lay "/layers/$layer/files"
        lay "/layers/$layer/templates"
    done
    arch-chroot /target bash -euc "for layer in base azure; do $enable; done"
    echo '@ base' >&3

    git config --global --add safe.directory '*'
    git init -q /target/var/lib/agent
    git -C /target/var/lib/agent fetch -q --depth=1 --no-tags "$WAAGENT" "$WAAGENT_COMMIT"
    git -C /target/var/lib/agent checkout -q FETCH_HEAD
    arch-chroot /target env ARCHAZURE_AGENT_SOURCE=/var/lib/agent bash /run/layers/install-waagent
    rm -rf /target/var/lib/agent
    echo '@ agent' >&3

    lay /layers/waagent/files
    arch-chroot /target bash -euc "layer=waagent; $enable; bash /run/layers/boot-loaders"
    bash /layers/seal /target

    truncate -s "${DISK_SIZE}M" "$disk"
    sgdisk --clear --set-alignment=1 \
        --new="1:$bios:$(( esp - 1 ))" --typecode=1:ef02 --change-name='1:BIOS boot' \
        --new="2:$esp:$(( root - 1 ))" --typecode=2:ef00 --change-name='2:EFI system' \
        --new="3:$root:$(( end - 1 ))" --typecode=3:8304 --change-name=3:root "$disk"
    dd if=/target/boot/grub/i386-pc/boot.img of="$disk" bs=440 count=1 conv=notrunc status=none
    dd if=/target/boot/grub/i386-pc/core.img of="$disk" bs=512 seek="$bios" conv=notrunc status=none
    # As grub-bios-setup does: where the core image begins, which drive number to trust, where the core image goes on.
    patch "$disk" 92 "$(le64 "$bios")"
    patch "$disk" 102 9090
    patch "$disk" $(( bios * 512 + 500 )) "$(le64 $(( bios + 1 )))"
    mkfs.vfat -F 32 -s 1 -n ESP -i "${ARCHAZURE_ESP_UUID/-/}" --offset "$esp" "$disk" $(( 300 * 1024 ))
    mmd -i "$disk@@$(( esp * 512 ))" ::/EFI ::/EFI/BOOT
    mcopy -i "$disk@@$(( esp * 512 ))" /target/boot/grub/x86_64-efi/core.efi ::/EFI/BOOT/BOOTX64.EFI
    echo '@ disk' >&3

    mke2fs -q -F -t ext4 -L root -U "$ARCHAZURE_ROOT_UUID" -O '^metadata_csum_seed,^orphan_file' \
        -E "offset=$(( root * 512 )),root_owner=0:0" -d /target "$disk" $(( (end - root) / 2 ))k
    truncate -s $(( (DISK_SIZE << 20) + 512 )) "$disk"
    patch "$disk" $(( DISK_SIZE << 20 )) "$(footer)"
    echo '@ root' >&3
}

if [[ $1 == --in-container ]]; then
    in_container 3>&1 > /out/bare.log 2>&1 < /dev/null
    exit
fi

here=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
work=$(realpath "$1")
start=$EPOCHREALTIME

# setting KEY: its value, from settings.env or the default.
setting() {
    local value
    value=$(sed -nE "s/^$1=//p" "$here/settings.env.default" "$work/settings.env" | tail -n 1)
    sed -E "s/^(['\"])(.*)\1\$/\2/" <<< "$value"
}

# What the target is told: a mirror on this machine's loopback is none for it.
MIRROR=$(setting MIRROR) ARCHAZURE_MIRROR=$(setting MIRROR)
[[ $MIRROR != http://127.* ]] || ARCHAZURE_MIRROR=$(work=/nonexistent setting MIRROR 2> /dev/null)
declare -A values=(
    [MIRROR]=$MIRROR [ARCHAZURE_MIRROR]=$ARCHAZURE_MIRROR [DISK_SIZE]=$(setting DISK_SIZE) [BOOT_START]=$(setting BOOT_START)
    [PACKAGES]=$(setting PACKAGES) [WAAGENT]=$(setting WAAGENT_SOURCE) [WAAGENT_COMMIT]=$(setting WAAGENT_COMMIT)
    [ARCHAZURE_LOCALE]=$(setting TARGET_LANG) [ARCHAZURE_TIMEZONE]=$(setting TIME_ZONE) [ARCHAZURE_KEYMAP]=$(setting KEYMAP)
    [ARCHAZURE_KERNEL]=$(setting KERNEL) [ARCHAZURE_RESOURCE_DISK_SWAP]=$(setting RESOURCE_DISK_SWAP)
    [ARCHAZURE_IMAGE_VERSION]=bare [ARCHAZURE_ROOT_FILE_SYSTEM]=ext4 [ARCHAZURE_ROOT_FSCK_PASS]=1 [ARCHAZURE_ROOT_UUID]=$(uuid)
    [ARCHAZURE_ESP_UUID]=$(uuid | tr a-f A-F | cut -c 1-4,9-13)
)
options=()
if [[ -d ${values[WAAGENT]} ]]; then
    options+=(--volume "$(realpath "${values[WAAGENT]}"):/waagent:ro")
    values[WAAGENT]=/waagent
fi
for name in "${!values[@]}"; do options+=(--env "$name=${values[$name]}"); done

root=$(mktemp -d -p /dev/shm)
image=bare-bootstrap:$$
trap 'rm -rf "$root"; docker image rm "$image" > /dev/null 2>&1' EXIT
curl --silent --show-error --fail --location "$(setting RELEASE_URL)latest/archlinux-bootstrap-x86_64.tar.zst" |
    tar -x --zstd --warning=no-unknown-keyword --xattrs --xattrs-include='*' --strip-components=1 -C "$root"
tar -C "$root" -c --xattrs --xattrs-include='*' . | docker import - "$image" > /dev/null
rm -f "$work/bare.vhd"
docker run --rm --cap-add SYS_ADMIN --security-opt seccomp=unconfined --security-opt apparmor=unconfined --network host "${options[@]}" \
    --tmpfs /target:exec,suid,dev --volume "$here/module/layers:/layers:ro" --volume "$here/tests/bench/bare.sh:/bare.sh:ro" --volume "$work:/out" "$image" \
    bash /bare.sh --in-container | while read -r mark; do
    echo "$mark"
    [[ $mark != '@ bootstrap' ]] || echo "$EPOCHREALTIME" > "$work/bare.mark"
done || { tail -n 20 "$work/bare.log" >&2; exit 1; }
end=$EPOCHREALTIME bootstrap=$(< "$work/bare.mark")
echo '@ end'
awk "BEGIN { printf \"step 1: %.1f s, steps 2 to 5: %.1f s\\n\", $bootstrap - $start, $end - $bootstrap }"
