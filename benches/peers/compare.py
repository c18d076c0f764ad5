"""Runs the same work on other CKKS libraries and on this project, in turn; see README.md beside this file."""
import argparse
import statistics
import time

import environments
import report
from environments import Unavailable
from processes import Failure, build_twin, start_peer, start_twin

OPERATIONS = ["encode", "encrypt", "multiply", "square", "rotate", "rotations", "plain"]
PEERS = ["openfhe", "seal", "desilo", "helayers"]
NO_THREADS = {
    "seal": "an operation of SEAL runs on one thread",
    "helayers": "an operation on one ciphertext runs on one thread (SEAL underneath)",
}
CASES = ["n15-leveled:14", "n16-leveled:31"]
QUICK_CASES = ["small-n12:8"]
LARGEST_COUNT = 20


def options():
    parser = argparse.ArgumentParser(prog="benches/peers/run", description=__doc__)
    names = lambda text: [name for name in text.split(",") if name]
    parser.add_argument("--quick", action="store_true", help="a trial at N = 2^12 without security, 2 turns, one thread")
    parser.add_argument("--cases", type=names, help=f"preset:level, comma separated (default {','.join(CASES)})")
    parser.add_argument("--ops", type=names, default=OPERATIONS, help=f"of {','.join(OPERATIONS)}; 'none' with --bootstrap")
    parser.add_argument("--peers", type=names, default=PEERS, help=f"of {','.join(PEERS)}")
    parser.add_argument("--threads", type=names, help="thread counts (default 1,2)")
    parser.add_argument("--reps", type=int, help="turns of each side (default 7; bootstrapping 3)")
    parser.add_argument("--turn", type=float, default=0.5, help="seconds that a turn aims at (default 0.5)")
    parser.add_argument("--bootstrap", action="store_true", help="bootstrapping as well: 12-17 GB, minutes for each turn")
    parser.add_argument("--boot-preset", default=None, help="the project's set (default n16-boot; quick small-n12-boot)")
    parser.add_argument("--boot-transforms", type=int, default=0,
                        help="MiB that the project's bootstrap may spend on kept transforms of plaintexts (default 0)")
    parser.add_argument("--openfhe-boot", type=names, default=["55:60:4", "50:60:5"],
                        help="OpenFHE's sets, scale bits:first bits:digits[:cts] (default 55:60:4,50:60:5)")
    parser.add_argument("--boot-warmup", type=int, default=1, help="unmeasured bootstraps before each turn (default 1)")
    parser.add_argument("--install-only", action="store_true", help="makes the peers' environments and ends")
    parser.add_argument("--out", help="writes the record as JSON to this file")
    chosen = parser.parse_args()
    chosen.ops = [] if chosen.ops == ["none"] else chosen.ops
    for what, given, known in [("operation", chosen.ops, OPERATIONS), ("peer", chosen.peers, PEERS)]:
        if unknown := set(given) - set(known):
            parser.error(f"no such {what}: {', '.join(sorted(unknown))}")
    chosen.cases = chosen.cases or (QUICK_CASES if chosen.quick else CASES)
    chosen.threads = [int(t) for t in chosen.threads or (["1"] if chosen.quick else ["1", "2"])]
    chosen.boot_reps = chosen.reps or (1 if chosen.quick else 3)
    chosen.reps = chosen.reps or (2 if chosen.quick else 7)
    chosen.boot_preset = chosen.boot_preset or ("small-n12-boot" if chosen.quick else "n16-boot")
    return chosen


def install(peers, skipped):
    """The Python program of every peer that can be had."""
    found = {}
    for peer in peers:
        try:
            found[peer] = environments.environment(peer)
            print(f"{peer}: {environments.PACKAGES[peer][0]}")
        except Unavailable as reason:
            skip(skipped, peer, "all", str(reason))
    return found


def skip(skipped, peer, what, reason):
    print(f"skipped {peer}, {what}: {reason}", flush=True)
    skipped.append({"peer": peer, "what": what, "reason": reason})


def counted(threads):
    return "1 thread" if threads == 1 else f"{threads} threads"


def case_of(parameters, threads):
    """What a worker is told, from the project's parameters."""
    return {
        "log_n": parameters["log_n"], "levels": parameters["levels"], "scale_bits": round(parameters["scale_bits"]),
        "first_bits": round(parameters["first_bits"]), "digits": parameters["digits"], "secure": parameters["secure"],
        "threads": threads, "bootstrap": False,
    }


def count_for(process, operation, seconds):
    """Runs the operation twice, the first time to make it warm, and says how often it fits into a turn."""
    process.ask(operation, 1)
    once = process.ask(operation, 1)["ns"][0] / 1e9
    return max(1, min(LARGEST_COUNT, round(seconds / max(once, 1e-9))))


def compare_operation(peer, twin, operation, chosen):
    """Alternates peer and project; times of conversions that are the bindings' own are taken off the peer's."""
    counts = [count_for(side, operation, chosen.turn) for side in (peer, twin)]
    turns, last = ([], []), [None, None]
    for _ in range(chosen.reps):
        for i, side in enumerate((peer, twin)):
            last[i] = side.ask(operation, counts[i])
            turns[i].append(last[i]["ns"])
    conversion = peer.parameters.get("conversion_ns", {}).get(operation, 0)
    peer_turns = [[value - conversion for value in turn] for turn in turns[0]]
    every = lambda some: report.spread([value for turn in some for value in turn])
    side = lambda i, some: {"ms": every(some), "turns_ns": some, "error": last[i]["error"], "level": last[i]["level"]}
    return {"operation": operation, "peer": side(0, peer_turns), "project": side(1, turns[1]),
            "conversion_ns": conversion, "ratio": report.ratios(peer_turns, turns[1])}


def compare_case(record, program, found, case, threads, chosen):
    """All peers at one parameter set and thread count."""
    preset, level = case.split(":")
    with start_twin(program, preset, level, threads) as twin:
        print(f"\n{case}, {counted(threads)}")
        report.show_parameters("project", twin.parameters)
        for name, python in found.items():
            if threads > 1 and name in NO_THREADS:
                skip(record["skipped"], name, counted(threads), NO_THREADS[name])
                continue
            try:
                with start_peer(python, name, case_of(twin.parameters, threads), threads) as peer:
                    report.show_parameters(name, peer.parameters)
                    report.show_header()
                    for operation in chosen.ops:
                        row = compare_operation(peer, twin, operation, chosen)
                        report.show_row(row)
                        record["rows"].append({"case": case, "threads": threads, "name": name, **row})
                    record["parameters"].append({"case": case, "threads": threads, "name": name,
                                                 "peer": peer.parameters, "project": twin.parameters})
            except Failure as reason:
                skip(record["skipped"], name, f"{case}, {counted(threads)}", str(reason))


def bootstrap_cases(chosen, threads):
    """Peer and what its worker is told."""
    log_n = 12 if chosen.quick else 16
    common = {"log_n": log_n, "threads": threads, "secure": not chosen.quick, "bootstrap": True}
    for text in chosen.openfhe_boot if "openfhe" in chosen.peers else []:
        scale, first, digits, *order = text.split(":")
        yield "openfhe", {**common, "scale_bits": int(scale), "first_bits": int(first), "digits": int(digits),
                          "slots_first": order != ["cts"], "level_budget": [3, 3], "secret": "SPARSE_ENCAPSULATED",
                          "levels": 4 if chosen.quick else 0}
    if "desilo" in chosen.peers:
        yield "desilo", common


def one_bootstrap(start, warmup):
    """One measured bootstrap in a fresh process: two libraries' keys do not fit into memory side by side."""
    begun = time.monotonic()
    with start() as process:
        setup = time.monotonic() - begun
        if warmup:
            process.ask("bootstrap", warmup)
        return {**process.ask("bootstrap", 1), "setup_seconds": setup}, process.parameters


def bootstrap_side(answers, parameters):
    """Statistics of one side over its turns; precision is that of the worst turn."""
    seconds = report.spread([a["ns"][0] for a in answers])
    seconds = {key: value if key == "runs" else value / 1e3 for key, value in seconds.items()}
    levels, slots = min(a["level"] for a in answers), 1 << (parameters["log_n"] - 1)
    return {
        "seconds": seconds, "levels_left": levels, "bits_per_level": parameters.get("scale_bits"),
        "mean_bits": min(a["mean_bits"] for a in answers), "worst_bits": min(a["worst_bits"] for a in answers),
        "worst_bits_real": min(a["worst_bits_real"] for a in answers),
        "amortised_ns": seconds["median"] * 1e9 / (slots * max(levels, 1)),
        "setup_seconds": statistics.median(a["setup_seconds"] for a in answers),
        "peak_mib": max(a["peak_mib"] for a in answers), "parameters": parameters,
    }


def compare_bootstraps(record, program, found, threads, chosen):
    """Each peer's bootstrap and the project's in turn."""
    for name, case in bootstrap_cases(chosen, threads):
        if name not in found:
            continue
        print(f"\nbootstrapping, {name}, {counted(threads)}", flush=True)
        starts = [lambda: start_peer(found[name], name, case, threads),
                  lambda: start_twin(program, chosen.boot_preset, "bootstrap", threads, chosen.boot_transforms)]
        answers, parameters = ([], []), [None, None]
        try:
            for _ in range(chosen.boot_reps):
                for i, start in enumerate(starts):
                    answer, parameters[i] = one_bootstrap(start, chosen.boot_warmup)
                    answers[i].append(answer)
        except Failure as reason:
            skip(record["skipped"], name, f"bootstrapping, {counted(threads)}", str(reason))
            continue
        row = {"threads": threads, "name": name}
        for label, who, i in [(name, "peer", 0), ("project", "project", 1)]:
            report.show_parameters(label, parameters[i])
            row[who] = bootstrap_side(answers[i], parameters[i])
            report.show_bootstrap(label, row[who])
        row["ratio"] = report.ratios([a["ns"] for a in answers[0]], [a["ns"] for a in answers[1]])
        row["ratio_amortised"] = row["peer"]["amortised_ns"] / row["project"]["amortised_ns"]
        print(f"  ratio of medians {row['ratio']['of_medians']:.2f}x, per slot and level {row['ratio_amortised']:.2f}x")
        record["bootstraps"].append(row)


def main():
    chosen = options()
    record = {"circumstances": report.circumstances(vars(chosen)), "skipped": [], "parameters": [], "rows": [], "bootstraps": []}
    found = install(chosen.peers, record["skipped"])
    record["packages"] = {peer: environments.PACKAGES[peer][0] for peer in found}
    if chosen.install_only:
        return
    load = record["circumstances"]["load_at_start"]
    if load > 0.5:
        print(f"the machine is not quiet (load {load:.1f}): these numbers are a trial, not a measurement")
    program = build_twin()
    for threads in chosen.threads:
        if chosen.ops:
            for case in chosen.cases:
                compare_case(record, program, found, case, threads, chosen)
        if chosen.bootstrap:
            compare_bootstraps(record, program, found, threads, chosen)
    if chosen.out:
        report.write(record, chosen.out)


if __name__ == "__main__":
    main()
