# Gives the target the file systems that programs in it need: those of the builder itself, as the engine has masked them, and no
# others of the kernel's. It runs first of all in a new builder, and is the last that runs in it with CAP_SYS_ADMIN.
# Arguments: the target's folder (empty), where to mount it, the most bytes of memory to keep it in. FILTER holds the filter of system calls
# in base64. Prints "memory" where the tree is in memory, and "filtered" where the filter works.
set -euo pipefail

tree=$1 chroot=$2 most=$3

# Half of what is free: in memory, packages unpack in a fifth of the processor time. Before Linux 6.6 tmpfs has no attributes of users.
read -r _ free _ < <(grep ^MemAvailable: /proc/meminfo)
IFS=.- read -r major minor _ < /proc/sys/kernel/osrelease
size=$(( free * 1024 / 2 < most ? free * 1024 / 2 : most ))
if (( free >= 8 << 20 && most > 0 && major * 1000 + minor >= 6006 )); then
    mount -t tmpfs -o "mode=0755,size=$size" target "$tree"
    echo memory
fi

# With the modes of Arch's package filesystem. What is mounted is seen at the other place only: here is what goes into the image.
install --directory --mode=0555 "$tree"/{proc,sys}
install --directory --mode=0755 "$tree"/{dev,run}
install --directory --mode=1777 "$tree/tmp"
# pacman's database: it wants the folder before the first package.
install --directory --mode=0755 "$tree/var/lib/pacman"
mkdir --parents "$chroot"
mount --bind "$tree" "$chroot"
cd "$chroot"

# With the mounts below them, which are what masks them.
mount --rbind /proc proc
mount --rbind /sys sys

mount -t tmpfs -o nosuid,noexec,mode=0755,size=1m dev dev
for node in null zero full random urandom tty; do
    : > "dev/$node"
    mount --bind "/dev/$node" "dev/$node"
done
mkdir dev/{pts,shm}
mount --rbind /dev/pts dev/pts
mount -t tmpfs -o nosuid,nodev,mode=1777 shm dev/shm
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
ln -s /proc/self/fd/0 dev/stdin
ln -s /proc/self/fd/1 dev/stdout
ln -s /proc/self/fd/2 dev/stderr

mount -t tmpfs -o nosuid,nodev,mode=0755 run run
mount -t tmpfs -o nosuid,nodev,mode=1777,strictatime tmp tmp

# A file system of its own: nobody can write to it or take it away without CAP_SYS_ADMIN.
mkdir /run/archazure
mount -t tmpfs -o nosuid,nodev,noexec,mode=0755,size=64k confinement /run/archazure
base64 --decode <<< "$FILTER" > /run/archazure/filter
mount -o remount,ro /run/archazure

# Not before util-linux 2.41, nor where the builder's programs run in an emulator.
if setpriv --seccomp-filter /run/archazure/filter true; then
    echo filtered
fi
