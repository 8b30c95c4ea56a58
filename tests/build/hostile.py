"""Tries every way out of the target that the tests know, and prints for each: wall PLACE WAY refused|OPEN reason."""
import ctypes
import os
import sys

libc = ctypes.CDLL(None, use_errno=True)
place = sys.argv[1]
AT_FDCWD = -100
MS_RDONLY, MS_REMOUNT, MS_BIND = 1, 32, 4096
CLONE_NEWNS, CLONE_NEWUSER = 0x20000, 0x10000000


def call(result):
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))


def syscall(number, *arguments):
    call(libc.syscall(number, *arguments))


def mount(source, target, kind, flags=0, options=""):
    os.makedirs(target, exist_ok=True)
    call(libc.mount(source.encode(), target.encode(), kind.encode(), flags, options.encode()))


def rewrite(path):
    """Writes what is there: harmless where it works."""
    with open(path, "r+") as file:
        file.write(file.read() or "\n")
        file.flush()


def write(path, text):
    with open(path, "w") as file:
        file.write(text)


def in_child(work):
    """Runs what would change this process in one of its own."""
    child = os.fork()
    if child == 0:
        try:
            work()
            os._exit(0)
        except OSError as error:
            os._exit(error.errno or 255)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status != 0:
        raise OSError(status, os.strerror(status))


def leave_chroot():
    os.makedirs("/tmp/inner", exist_ok=True)
    os.chroot("/tmp/inner")
    for _ in range(20):
        os.chdir("..")
    os.chroot(".")


def alter_builder():
    leave_chroot()
    if not os.path.exists("/run/target"):
        raise OSError(2, "not outside")
    write("/usr/bin/setpriv", "")


def write_to_stronger(name):
    """Memory or input of processes that have more rights: the container's first, the one that starts commands, and its own parent."""
    leave_chroot()
    error = OSError(3, "no such process")
    for process in filter(str.isdigit, os.listdir("/proc")):
        with open(f"/proc/{process}/status") as status:
            effective = next(line for line in status if line.startswith("CapEff")).split()[1]
        if int(effective, 16) >> 21 & 1:
            try:
                os.close(os.open(f"/proc/{process}/{name}", os.O_RDWR | os.O_NONBLOCK))
                return
            except OSError as refused:
                error = refused
    raise error


def capability():
    with open("/proc/self/status") as status:
        sets = [int(line.split()[1], 16) for line in status if line.startswith("Cap")]
    if len(sets) == 5 and not any(held >> 21 & 1 for held in sets):
        raise OSError(1, "no CAP_SYS_ADMIN in any set")


def release_agent():
    mount("none", "/tmp/cgroup", "cgroup", 0, "memory")
    rewrite("/tmp/cgroup/release_agent")


def bpf():
    # BPF_MAP_CREATE of an array: key 4, value 4, one entry.
    attributes = (ctypes.c_uint32 * 32)(2, 4, 4, 1)
    syscall(321, 0, ctypes.byref(attributes), 128)


def perf():
    # PERF_TYPE_SOFTWARE, PERF_COUNT_SW_CPU_CLOCK, of every process on processor 0.
    attributes = (ctypes.c_uint32 * 32)(1, 128)
    syscall(298, ctypes.byref(attributes), -1, 0, -1, 0)


WAYS = {
    "sysctl": lambda: rewrite("/proc/sys/vm/swappiness"),
    "core-pattern": lambda: rewrite("/proc/sys/kernel/core_pattern"),
    "sysrq": lambda: write("/proc/sysrq-trigger", "h"),
    "proc-bus": lambda: rewrite("/proc/irq/default_smp_affinity"),
    "remount-proc-sys": lambda: mount("none", "/proc/sys", "", MS_REMOUNT | MS_BIND),
    "umount-proc-sys": lambda: call(libc.umount2(b"/proc/sys", 2)),
    "fresh-proc": lambda: mount("proc", "/tmp/proc", "proc"),
    "remount-root": lambda: mount("none", "/", "", MS_REMOUNT | MS_RDONLY),
    "devtmpfs": lambda: mount("dev", "/tmp/dev", "devtmpfs"),
    "mknod-disk": lambda: os.mknod("/tmp/disk", 0o060600, os.makedev(8, 0)),
    "mknod-memory": lambda: os.mknod("/dev/mem", 0o020600, os.makedev(1, 1)),
    "cgroup-release-agent": release_agent,
    "cgroup2": lambda: mount("none", "/tmp/cgroup2", "cgroup2"),
    "debugfs": lambda: mount("none", "/tmp/debug", "debugfs"),
    "sys-write": lambda: rewrite("/sys/kernel/uevent_helper" if os.path.exists("/sys/kernel/uevent_helper") else "/sys/kernel/profiling"),
    "bpf": bpf,
    "perf": perf,
    "user-namespace": lambda: in_child(lambda: call(libc.unshare(CLONE_NEWUSER))),
    "mount-namespace": lambda: in_child(lambda: call(libc.unshare(CLONE_NEWNS))),
    "new-mount-api": lambda: syscall(430, b"tmpfs", 0),
    "builder-root": lambda: in_child(alter_builder),
    "stronger-memory": lambda: in_child(lambda: write_to_stronger("mem")),
    "stronger-input": lambda: in_child(lambda: write_to_stronger("fd/0")),
    "capability": capability,
}

# Stays where it is made: the test looks whether the host sees it.
write("/dev/archazure-wall", "")
for way, attempt in WAYS.items():
    try:
        attempt()
        result = "OPEN"
    except OSError as error:
        result = f"refused {error.strerror}"
    print("wall", place, way, result, flush=True)
