"""What one leaves behind to be run, or read, by somebody outside."""

CRASH = """
import os, resource
print(resource.getrlimit(resource.RLIMIT_CORE))
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
if os.fork() == 0: os.abort()
status = os.wait()[1]
print(os.WCOREDUMP(status), os.WTERMSIG(status), resource.getrlimit(resource.RLIMIT_CORE), os.listdir("."))
"""


def test_a_crash_dumps_nothing_and_runs_nothing(sandbox):
    """Where the host's core_pattern is a program, only a limit of exactly 1 keeps the kernel from running it (core(5))."""
    for options in ((), ("--root",)):
        assert sandbox.run("python3", "-c", CRASH, options=options).stdout == "(1, 1)\nFalse 6 (1, 1) []\n"


# VFS_CAP_REVISION_2 with all of the first 32 capabilities, permitted, inheritable and effective.
CAPABLE = """
import os, struct, subprocess, shutil
shutil.copy("/usr/bin/grep", "/usr/local/bin/capable")
os.setxattr("/usr/local/bin/capable", "security.capability", struct.pack("<5I", 0x02000001, 2**32 - 1, 2**32 - 1, 0, 0))
print(len(os.getxattr("/usr/local/bin/capable", "security.capability")) > 0, flush=True)
subprocess.run(["/usr/local/bin/capable", "CapEff", "/proc/self/status"], user=1000, group=1000, extra_groups=[])
"""


def test_file_capabilities_give_nothing(sandbox):
    """The container's root may set them, as installing packages does; nobody gets them."""
    out = sandbox.run("python3", "-c", CAPABLE, options=("--root",)).stdout
    assert out == "True\nCapEff:\t0000000000000000\n"
