#!/usr/bin/env bash
# tests/bench/mkosi.sh prepare WORKDIR: makes the Docker image archazure-bench-mkosi with the mkosi of Debian's forky suite; the suite is
# that of the stand-in mirror, from the archive that this machine installs from. Prints mkosi's version.
# tests/bench/mkosi.sh build WORKDIR: with it a raw disk of the same size with the same packages and mkinitcpio configuration as the
# module's, WORKDIR/mkosi/image.raw, from the mirror of WORKDIR/settings.env; without agent, layers and boot loaders. Needs Docker and root.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
work=$(realpath "$2")
image=archazure-bench-mkosi

if [[ $1 == prepare ]]; then
    gpg --batch --yes --dearmor --output "$work/keys.gpg" "$here/tests/standin/recipe/debian-archive-keys.asc"
    archive=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' | grep -m 1 /debian)
    mmdebstrap --mode=root --variant=apt --keyring="$work/keys.gpg" --aptopt='Acquire::Check-Valid-Until "false"' \
        --aptopt='APT::Install-Recommends "false"' --include=mkosi,pacman-package-manager,makepkg,systemd-repart,systemd-container,udev,kmod,cpio \
        --include=e2fsprogs,dosfstools,mtools,fdisk,zstd,xz-utils,gpg,gpg-agent,dirmngr,ca-certificates forky - "$archive" |
        docker import - "$image" > /dev/null
    exec docker run --rm --network none "$image" mkosi --version
fi

mirror=$(sed -n 's|^MIRROR=\(.*\)/\$repo/os/\$arch$|\1|p' "$work/settings.env")
definitions=$work/mkosi/definitions
mkdir -p "$definitions"/{repart,skeleton/etc}
cp -r "$here/module/layers/azure/files/etc/mkinitcpio.conf.d" "$definitions/skeleton/etc"
printf '[Partition]\nType=21686148-6449-6e6f-744e-656564454649\nSizeMinBytes=1M\nSizeMaxBytes=1M\n' > "$definitions/repart/00-bios.conf"
printf '[Partition]\nType=esp\nFormat=vfat\nSizeMinBytes=300M\nSizeMaxBytes=300M\n' > "$definitions/repart/10-esp.conf"
printf '[Partition]\nType=root\nFormat=ext4\nCopyFiles=/\nSizeMinBytes=30417M\nSizeMaxBytes=30417M\n' > "$definitions/repart/20-root.conf"
cat > "$definitions/mkosi.conf" << END
[Distribution]
Distribution=arch
Mirror=$mirror
RepositoryKeyFetch=yes

[Output]
Format=disk
ImageId=image
OutputDirectory=/out
RepartDirectories=repart

[Content]
Bootable=no
WithDocs=yes
SkeletonTrees=skeleton
Packages=$(sed -E 's/ *#.*//; /^ *$/d' "$here"/module/layers/{base,azure,waagent}/packages | sort -u | tr '\n' ' ')linux
END
docker run --rm --cap-add SYS_ADMIN --security-opt seccomp=unconfined --security-opt apparmor=unconfined --network host \
    --tmpfs /var/tmp:exec,suid,dev --volume "$definitions:/definitions:ro" --volume "$work/mkosi:/out" \
    "$image" mkosi --directory=/definitions build
echo '@ image'
