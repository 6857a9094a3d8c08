#!/usr/bin/env python3
"""Runs the test executables that `cargo test --no-run --message-format=json` lists on standard input,
several at a time: most of a suite's time is waiting, and a suite of its own cannot fill two processors.
Each stays a process of its own in its package's folder, as under `cargo test`.

    suites.py JOBS LOG [ARGUMENT…]

LOG gets all output, suite after suite; standard output a line per suite with its seconds and its
processor seconds. Ends with 1 if a suite failed, died, hung, or if there was none."""

import concurrent.futures
import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time

# Chromium keeps more than one processor busy, and its scripts have limits of time: runs first, with nothing beside it.
ALONE = {"browser"}
# The longest begin first, so that none is left running alone at the end. Only an order: what is missing here runs too.
LONGEST = """conformance_kafka3 conformance_kafka1 judges_java guide detect cli_doctor conformance_embedded
moving lumenbus_broker judges_clients vision cli_publish demo viewer shared_fleet soak_kills detect_silence""".split()
# Several times what the longest takes; a suite that hangs must not take the time of all others.
SECONDS_AT_MOST = 1200

# The suites that run, each with what it started in a process group of its own: they must not outlive this program.
running_groups = set()


def stop(*_):
    for group in list(running_groups):
        end(group)
    os._exit(1)


def end(group):
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)


def suites(lines):
    for line in lines:
        message = json.loads(line) if line.startswith("{") else {}
        if message.get("reason") == "compiler-artifact" and message.get("executable") and message["profile"]["test"]:
            package = os.path.dirname(message["manifest_path"])
            yield f"{os.path.basename(package)} {message['target']['name']}", message["executable"], package


def rank(suite):
    name = suite[0].split()[-1]
    return LONGEST.index(name) if name in LONGEST else len(LONGEST)


def run(suite, arguments):
    """The suite's output, how it ended, its seconds and its processor seconds."""
    _, executable, package = suite
    started = time.monotonic()
    with tempfile.TemporaryFile() as output:
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
        output.seek(0)
        text = output.read().decode(errors="replace")
    ended = f"hung for {SECONDS_AT_MOST} s" if hung.is_set() else f"exit status {child.returncode}"
    fine = child.returncode == 0 and "test result: ok." in text
    return text, ended, fine, time.monotonic() - started, used.ru_utime + used.ru_stime


def pooled(jobs, chosen, arguments):
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        running = {pool.submit(run, suite, arguments): suite[0] for suite in chosen}
        for done in concurrent.futures.as_completed(running):
            yield running[done], done.result()


def main():
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    jobs, log, arguments = int(sys.argv[1]), sys.argv[2], sys.argv[3:]
    found = sorted(suites(sys.stdin), key=rank)
    bad = 0 if found else 1
    alone = [suite for suite in found if suite[0].split()[-1] in ALONE]
    others = [suite for suite in found if suite not in alone]
    with open(log, "a") as everything:
        for name, result in itertools.chain(pooled(1, alone, arguments), pooled(jobs, others, arguments)):
            text, ended, fine, seconds, processor = result
            everything.write(f"     Running {name}\n{text}\n")
            if not fine:
                bad = 1
                everything.write(f"error: suite {name}: {ended}\n")
            everything.flush()
            how = "ok" if fine else "FAILED"
            print(f"{how:6} {seconds:6.1f} s, {processor:6.1f} s of processor: {name}", flush=True)
    print(f"{len(found)} suites, {jobs} at a time")
    return bad


if __name__ == "__main__":
    sys.exit(main())
