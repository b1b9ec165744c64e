"""What a program of the same user may try to get at the memory and the descriptors of a process.

    intruder.py PID     tries everything and prints a line each: its name, then "open" or "refused"
    intruder.py child   the same, on a process of its own that does nothing against it

A debugger is tried where it is installed. Nothing is printed of what was read.
"""

import ctypes
import os
import subprocess
import sys
import time

PTRACE_PEEKDATA, PTRACE_ATTACH, PTRACE_DETACH, PTRACE_SEIZE = 2, 16, 17, 0x4206
PIDFD_OPEN, PIDFD_GETFD = 434, 438

libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long] * 4
libc.ptrace.restype = ctypes.c_long


class Vector(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]


def check(result):
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def stack(pid):
    """Returns where the stack of a process begins; without its maps an intruder would have to guess."""
    try:
        for line in open(f"/proc/{pid}/maps"):
            if line.rstrip().endswith("[stack]"):
                return int(line.split("-")[0], 16)
    except OSError:
        pass
    return 0x7FFFFFFDE000


def read_file(name):
    def attempt(pid):
        with open(f"/proc/{pid}/{name}", "rb", buffering=0) as file:
            if name == "mem":
                file.seek(stack(pid))
            file.read(16)
    return attempt


def write_memory(pid):
    os.close(os.open(f"/proc/{pid}/mem", os.O_RDWR))


def list_descriptors(pid):
    for number in os.listdir(f"/proc/{pid}/fd"):
        os.readlink(f"/proc/{pid}/fd/{number}")


def read_over(pid):
    buffer = ctypes.create_string_buffer(16)
    ours = Vector(ctypes.addressof(buffer), 16)
    theirs = Vector(stack(pid), 16)
    # The last page of a stack is there in every process, wherever it begins.
    read = libc.process_vm_readv(pid, ctypes.byref(ours), 1, ctypes.byref(theirs), 1, 0)
    check(read)


def attach(pid):
    check(libc.ptrace(PTRACE_ATTACH, pid, 0, 0))
    os.waitpid(pid, 0x40000000)
    libc.ptrace(PTRACE_DETACH, pid, 0, 0)


def seize(pid):
    # The kernel detaches when we end.
    if os.fork() == 0:
        os._exit(0 if libc.ptrace(PTRACE_SEIZE, pid, 0, 0) == 0 else 1)
    if os.wait()[1] != 0:
        raise PermissionError("ptrace")


def take_descriptor(pid):
    pidfd = check(libc.syscall(PIDFD_OPEN, pid, 0))
    os.close(check(libc.syscall(PIDFD_GETFD, pidfd, 0, 0)))


def program(*command):
    def attempt(pid):
        words = [word.replace("PID", str(pid)) for word in command]
        try:
            done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, timeout=30, text=True)
            said = done.stdout + done.stderr
        except subprocess.TimeoutExpired:
            # strace follows for as long as it is let.
            said = "attached"
        if "not permitted" in said or "Permission denied" in said or "ptrace:" in said:
            raise PermissionError(words[0])
    return attempt


ATTEMPTS = {
    **{name: read_file(name) for name in ("mem", "environ", "maps", "auxv", "io")},
    "mem (to write)": write_memory,
    "fd": list_descriptors,
    "cwd": lambda pid: os.readlink(f"/proc/{pid}/cwd"),
    "process_vm_readv": read_over,
    "PTRACE_ATTACH": attach,
    "PTRACE_SEIZE": seize,
    "pidfd_getfd": take_descriptor,
    "gdb": program("gdb", "-nx", "-batch", "-ex", "info registers", "-p", "PID"),
    "strace": program("timeout", "1", "strace", "-p", "PID"),
    "gcore": program("gcore", "-o", "core", "PID"),
}


def main():
    target = sys.argv[1]
    child = None
    if target == "child":
        child = subprocess.Popen(["sleep", "600"])
        # Until it has become another program it is as we are.
        while open(f"/proc/{child.pid}/comm").read().strip() != "sleep":
            time.sleep(0.01)
        target = child.pid
    for name, attempt in ATTEMPTS.items():
        try:
            attempt(int(target))
            print(f"{name}: open")
        except PermissionError:
            print(f"{name}: refused")
    if child:
        child.kill()


main()
