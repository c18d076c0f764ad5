"""The processes under test: started, asked in turn, stopped while the other side works."""
import ctypes
import json
import os
import pathlib
import queue
import signal
import subprocess
import sys
import tempfile
import threading

HERE = pathlib.Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]
SETUP_SECONDS = 3600
ANSWER_SECONDS = 1800
PR_SET_PDEATHSIG = 1


class Failure(Exception):
    """A process that refused, died or did not answer; the message says which."""


def cores(threads):
    """The last `threads` cores that this process may use, or None where affinity is not known."""
    if not hasattr(os, "sched_getaffinity"):
        return None
    available = sorted(os.sched_getaffinity(0))
    if len(available) < threads:
        raise Failure(f"{threads} threads need {threads} cores, {len(available)} can be used")
    return available[-threads:]


def pinned_environment(threads):
    """The environment with every thread setting at the count under test."""
    names = ["OMP_NUM_THREADS", "RAYON_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_THREAD_LIMIT"]
    return {**os.environ, **{name: str(threads) for name in names}, "OMP_DYNAMIC": "false", "PYTHONDONTWRITEBYTECODE": "1"}


def prepare_child(chosen):
    """Runs in a new process before its program: a stopped process must not outlive a run that was killed."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if chosen:
        os.sched_setaffinity(0, chosen)


class Process:
    """One side: a JSON line for each request. It holds its cores only while it is asked."""

    def __init__(self, command, threads):
        self.errors = tempfile.TemporaryFile("w+")
        chosen = cores(threads)
        self.child = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, text=True, bufsize=1,
            env=pinned_environment(threads), cwd=REPOSITORY,
            preexec_fn=lambda: prepare_child(chosen))
        self.lines = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()
        try:
            self.parameters = self._answer(SETUP_SECONDS)
            if "unsupported" in self.parameters:
                raise Failure(self.parameters["unsupported"])
        except Failure:
            self.close()
            raise
        self._signal(signal.SIGSTOP)

    def _read(self):
        for line in self.child.stdout:
            self.lines.put(line)
        self.lines.put(None)

    def _signal(self, which):
        if self.child.poll() is None:
            self.child.send_signal(which)

    def _answer(self, seconds):
        try:
            line = self.lines.get(timeout=seconds)
        except queue.Empty:
            raise Failure(f"no answer in {seconds} s") from None
        if line is None:
            code = self.child.wait()
            self.errors.seek(0)
            said = [text.strip() for text in self.errors.read().splitlines() if text.strip()]
            raise Failure(f"ended with {code}: {said[-1] if said else 'no message'}")
        return json.loads(line)

    def ask(self, operation, count):
        """Performs the operation `count` times; the answer has the nanoseconds of every run."""
        self._signal(signal.SIGCONT)
        try:
            self.child.stdin.write(f"{operation} {count}\n")
            self.child.stdin.flush()
        except OSError:
            pass  # it has died: the answer below says how
        answer = self._answer(ANSWER_SECONDS)
        self._signal(signal.SIGSTOP)
        if "failed" in answer:
            raise Failure(answer["failed"])
        return answer

    def close(self):
        """Ends the process."""
        self._signal(signal.SIGKILL)
        self.child.wait()
        self.child.stdin.close()
        self.child.stdout.close()
        self.errors.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def build_twin():
    """Builds the project's side and returns its program."""
    command = ["cargo", "build", "--release", "-p", "touchstone-benches", "--bin", "peer-twin", "--message-format=json"]
    done = subprocess.run(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise SystemExit("cargo could not build benches/src/bin/peer-twin.rs")
    messages = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return next(m["executable"] for m in messages if m.get("executable") and m["target"]["name"] == "peer-twin")


def start_twin(program, preset, level, threads, *more):
    return Process([program, preset, str(level), str(threads), *map(str, more)], threads)


def start_peer(python, peer, case, threads):
    return Process([python, str(HERE / "workers" / f"{peer}_worker.py"), json.dumps(case)], threads)
