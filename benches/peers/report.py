"""Statistics, tables and the record."""
import datetime
import json
import os
import pathlib
import platform
import statistics
import subprocess

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]


def spread(nanoseconds):
    """Smallest, median and largest time in milliseconds."""
    values = [value / 1e6 for value in nanoseconds]
    return {"min": min(values), "median": statistics.median(values), "max": max(values), "runs": len(values)}


def ratios(peer_turns, project_turns):
    """Peer over project: of the medians of all runs, and of each adjacent pair of turns."""
    every = lambda turns: [value for turn in turns for value in turn]
    pairs = [statistics.median(a) / statistics.median(b) for a, b in zip(peer_turns, project_turns)]
    return {
        "of_medians": statistics.median(every(peer_turns)) / statistics.median(every(project_turns)),
        "of_minima": min(every(peer_turns)) / min(every(project_turns)),
        "of_turns_min": min(pairs), "of_turns_max": max(pairs),
    }


def cpu_model():
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.processor())


def git(*arguments):
    done = subprocess.run(["git", *arguments], cwd=REPOSITORY, capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else ""


def circumstances(options):
    """What a reader needs to judge the numbers."""
    return {
        "started": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "processor": cpu_model(), "cores": os.cpu_count(), "system": f"{platform.system()} {platform.machine()}",
        "commit": git("rev-parse", "HEAD"),
        "changed_files": len(git("status", "--porcelain", "--", "benches", "optimized", "spec").splitlines()),
        "load_at_start": os.getloadavg()[0], "options": options,
    }


def show_parameters(name, parameters):
    """One line with the parameters really used."""
    parts = []
    if "primes" in parameters:
        parts.append(f"{parameters['primes']} primes, log2 Q {parameters['log_q']:.0f}")
    if "special_primes" in parameters:
        parts.append(f"{parameters['special_primes']} special")
    if "log_qp" in parameters:
        parts.append(f"log2 QP {parameters['log_qp']:.0f}")
    if "digits" in parameters:
        parts.append(f"{parameters['digits']} digits")
    if "scale_bits" in parameters:
        parts.append(f"scale 2^{parameters['scale_bits']:.0f}")
    if "limbs_of_ciphertext" in parameters:
        parts.append(f"{parameters['limbs_of_ciphertext']} limbs of 64 bits in a ciphertext")
    for key in ["order", "level_budget", "secret", "ephemeral_weight", "kernel", "backend"]:
        if key in parameters:
            parts.append(f"{key.replace('_', ' ')} {parameters[key]}")
    parts.append("128-bit" if parameters.get("secure") else "INSECURE: a trial")
    print(f"  {name:<11} N 2^{parameters['log_n']}, {parameters['levels']} levels, {', '.join(parts)}")
    for note in parameters.get("notes", []):
        print(f"  {'':<11} {note}")


def show_header():
    times = "min / median / max ms"
    print(f"  {'operation':<10} {'project: ' + times:>32} {'peer: ' + times:>32} {'ratio':>7} {'minima':>9} {'by turns':>13} {'errors (project, peer)':>24}")


def show_row(row):
    def three(side):
        s = row[side]["ms"]
        return f"{s['min']:.2f} / {s['median']:.2f} / {s['max']:.2f}"
    r = row["ratio"]
    errors = f"{row['project']['error']:.1e}, {row['peer']['error']:.1e}"
    turns = f"{r['of_turns_min']:.2f}-{r['of_turns_max']:.2f}"
    print(f"  {row['operation']:<10} {three('project'):>32} {three('peer'):>32} {r['of_medians']:>6.2f}x {r['of_minima']:>8.2f}x {turns:>13} {errors:>24}", flush=True)


def show_bootstrap(name, side):
    s = side["seconds"]
    bits = f"{side['bits_per_level']:.0f}" if side["bits_per_level"] else "not published"
    key_bytes = side["parameters"].get("key_bytes")
    keys = f"keys {key_bytes / 2**30:.1f} GiB, " if key_bytes else ""
    print(f"  {name:<11} {s['min']:.2f} / {s['median']:.2f} / {s['max']:.2f} s, {side['levels_left']} levels left of {bits} bits, "
          f"precision mean {side['mean_bits']:.1f} worst {side['worst_bits']:.1f} bits, "
          f"{side['amortised_ns']:.1f} ns per slot and level, keys and tables made in {side['setup_seconds']:.0f} s, "
          f"{keys}peak {side['peak_mib'] / 1024:.1f} GiB", flush=True)


def write(record, path):
    """Writes the record as JSON."""
    record["circumstances"]["load_at_end"] = os.getloadavg()[0]
    pathlib.Path(path).write_text(json.dumps(record, indent=1) + "\n")
    print(f"record: {path}")
