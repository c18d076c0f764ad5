"""What the peers' workers share: inputs, timing, and the exchange with compare.py.

A worker is started with one JSON argument (the case) and prints one JSON line with the parameters really used. Then each
line of standard input, an operation and a count, is answered by one JSON line with the nanoseconds of every run, the
level of the result, and its largest slot error. Whatever a library prints itself goes to standard error.
"""
import json
import os
import sys
import time

import numpy as np

ROTATIONS = list(range(1, 9))


class Unsupported(Exception):
    """Something that this library does not offer; the message says what."""


def slots(seed, count):
    """The same complex slots as the project's side: SplitMix64 of a counter, each part in [-0.7, 0.7)."""
    with np.errstate(over="ignore"):
        z = np.uint64(seed) + np.arange(1, 2 * count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z ^= z >> np.uint64(31)
    x = 0.7 * ((z >> np.uint64(11)).astype(np.float64) * 2.0**-52 - 1.0)
    return x[0::2] + 1j * x[1::2]


class Worker:
    """One library with its keys and inputs.

    `operations` maps a name to (run, expected slots, decrypt, level): `run()` does the work and is timed, the others look
    at its result. `parameters` is reported as it is.
    """

    def __init__(self):
        self.parameters = {}
        self.operations = {}
        self.kept = []  # objects that the library needs but does not keep alive

    def add(self, name, run, expected, decrypt, level):
        self.operations[name] = (run, expected, decrypt, level)


def statistics(got, expected):
    """Largest error, and mean and worst precision in bits of the real and imaginary parts."""
    difference = np.asarray(got)[: len(expected)] - expected
    parts = np.concatenate([np.abs(difference.real), np.abs(difference.imag)])
    with np.errstate(divide="ignore"):
        bits = -np.log2(np.maximum(parts, 2.0**-60))
    return {
        "error": float(np.abs(difference).max()),
        "mean_bits": float(bits.mean()),
        "worst_bits": float(bits.min()),
        "worst_bits_real": float(-np.log2(max(np.abs(difference.real).max(), 2.0**-60))),
    }


def perform(worker, name, count):
    """Runs the operation; results of earlier runs are freed outside the timed span."""
    run, expected, decrypt, level = worker.operations[name]
    times, result = [], None
    for _ in range(count):
        result = None
        start = time.perf_counter_ns()
        result = run()
        times.append(time.perf_counter_ns() - start)
    return {"ns": times, "level": level(result), **statistics(decrypt(result), expected)}


def serve(make):
    """Makes the worker for the case and answers requests until standard input ends."""
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)

    def answer(value):
        out.write(json.dumps(value) + "\n")

    try:
        worker = make(json.loads(sys.argv[1]))
    except Unsupported as reason:
        answer({"unsupported": str(reason)})
        return
    answer({**worker.parameters, "operations": list(worker.operations)})
    for line in sys.stdin:
        name, count = line.split()
        try:
            answer({**perform(worker, name, int(count)), "peak_mib": peak_mib()})
        except Exception as error:  # a library's own refusal is a result of this run, not a reason to end it
            answer({"failed": f"{type(error).__name__}: {error}"})


def peak_mib():
    """Largest resident size so far."""
    import resource
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
