#!/usr/bin/env python3
"""Lets `cargo test` have its executables run several at a time: most of a suite's time is waiting, and a suite of its
own cannot fill two processors. Each stays a process of its own in its package's folder, as cargo would run it.

    suites.py pool JOBS FOLDER [ARGUMENT…]     runs what `cargo test --no-run --message-format=json` lists on standard
                                               input, and keeps each output and result in FOLDER
    suites.py answer FOLDER EXECUTABLE [ARGUMENT…]
                                               cargo's runner: says what the pool saw of it, once it ended; what the
                                               pool does not have is run here and now

The pool prints a line per suite with its seconds and its processor seconds."""

import concurrent.futures
import contextlib
import fcntl
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time

# Chromium keeps more than one processor busy, and its scripts have limits of time: runs first, with nothing beside it.
ALONE = {"browser"}
# The longest begin first, so that none is left running alone at the end. Only an order: what is missing here runs too.
LONGEST = """conformance_kafka3 conformance_kafka1 judges_java guide detect cli_doctor conformance_embedded
moving lumenbus_broker judges_clients vision cli_publish demo viewer shared_fleet soak_kills detect_silence""".split()
# Several times what the longest takes; a suite that hangs must not take the time of all others.
SECONDS_AT_MOST = 1200
# How often an answer looks whether there is one.
LOOK = 0.1

# The suites that run, each with what it started in a process group of its own: they must not outlive this program.
running_groups = set()


def stop(*_):
    for group in list(running_groups):
        end(group)
    os._exit(1)


def end(group):
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)


def listed(lines):
    """Of each test executable: its name for people, its path, its package's folder."""
    for line in lines:
        message = json.loads(line) if line.startswith("{") else {}
        if message.get("reason") == "compiler-artifact" and message.get("executable") and message["profile"]["test"]:
            package = os.path.dirname(message["manifest_path"])
            yield f"{os.path.basename(package)} {message['target']['name']}", message["executable"], package


def rank(suite):
    name = suite[0].split()[-1]
    return LONGEST.index(name) if name in LONGEST else len(LONGEST)


def result_of(folder, executable):
    return os.path.join(folder, os.path.basename(executable))


def run(suite, folder, arguments):
    """How it ended, its seconds and its processor seconds."""
    _, executable, package = suite
    kept = result_of(folder, executable)
    started = time.monotonic()
    with open(f"{kept}.output", "wb") as output:
        # A group of its own, so that what a hanging suite started ends with it.
        child = subprocess.Popen([executable, *arguments], cwd=package, stdin=subprocess.DEVNULL, stdout=output,
                                 stderr=subprocess.STDOUT, start_new_session=True,
                                 env=dict(os.environ, CARGO_MANIFEST_DIR=package))
        running_groups.add(child.pid)
        hung = threading.Event()
        timer = threading.Timer(SECONDS_AT_MOST, lambda: (hung.set(), end(child.pid)))
        timer.start()
        _, status, used = os.wait4(child.pid, 0)
        timer.cancel()
        running_groups.discard(child.pid)
        child.returncode = os.waitstatus_to_exitcode(status)
        if hung.is_set():
            output.write(f"error: it hung for {SECONDS_AT_MOST} s\n".encode())
        elif child.returncode < 0:
            output.write(f"error: it died of signal {-child.returncode}\n".encode())
    with open(f"{kept}.part", "w") as answer:
        answer.write(str(child.returncode if child.returncode >= 0 else 128 - child.returncode))
    os.rename(f"{kept}.part", f"{kept}.status")
    return child.returncode, time.monotonic() - started, used.ru_utime + used.ru_stime


def pooled(jobs, chosen, folder, arguments):
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        running = {pool.submit(run, suite, folder, arguments): suite[0] for suite in chosen}
        for done in concurrent.futures.as_completed(running):
            yield running[done], done.result()


def pool(jobs, folder, arguments):
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    found = sorted(listed(sys.stdin), key=rank)
    # Held until the end; with it in the list, whoever answers knows what is worth waiting for.
    with open(os.path.join(folder, "pool"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.write("".join(f"{executable}\n" for _, executable, _ in found))
        lock.flush()
        alone = [suite for suite in found if suite[0].split()[-1] in ALONE]
        others = [suite for suite in found if suite not in alone]
        one_by_one = pooled(1, alone, folder, arguments)
        for name, (code, seconds, processor) in itertools.chain(one_by_one, pooled(jobs, others, folder, arguments)):
            how = "ok" if code == 0 else "FAILED"
            print(f"{how:6} {seconds:6.1f} s, {processor:6.1f} s of processor: {name}", flush=True)
    print(f"{len(found)} suites, {jobs} at a time")


def answer(folder, executable, arguments):
    kept = result_of(folder, executable)
    with open(os.path.join(folder, "pool")) as lock:
        waited_for = executable in lock.read().splitlines()
        while waited_for and not os.path.exists(f"{kept}.status"):
            # What can be locked is held by no pool any more.
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
                break
            time.sleep(LOOK)
    if not os.path.exists(f"{kept}.status"):
        os.execv(executable, [executable, *arguments])
    with open(f"{kept}.output", "rb") as output:
        sys.stdout.flush()
        os.sendfile(sys.stdout.fileno(), output.fileno(), 0, os.fstat(output.fileno()).st_size)
    with open(f"{kept}.status") as status:
        return int(status.read())


if __name__ == "__main__":
    if sys.argv[1] == "pool":
        pool(int(sys.argv[2]), sys.argv[3], sys.argv[4:])
    else:
        sys.exit(answer(sys.argv[2], sys.argv[3], sys.argv[4:]))
