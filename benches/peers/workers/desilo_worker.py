"""DESILO FHE, whose parameters follow from the number of levels alone."""
import numpy as np
from desilofhe import Engine
from protocol import ROTATIONS, Unsupported, Worker, serve, slots

WORD = 8


def threads_of(case):
    """One thread is mode cpu; more are mode parallel with that many."""
    return {"mode": "cpu"} if case["threads"] == 1 else {"mode": "parallel", "thread_count": case["threads"]}


def describe(engine, ciphertext, log_n):
    """What can be seen from outside: sizes in limbs of 64 bits, nothing of the primes."""
    return {
        "log_n": log_n, "levels": engine.max_level, "limbs_of_ciphertext": round(ciphertext.nbytes / (2 * WORD << log_n)),
        "secure": True,
        "notes": ["primes, digits and scale are not published and not settable; the library states 128-bit security",
                  "multiply, square and plain rescale by themselves"],
    }


def leveled(case):
    if not case["secure"]:
        raise Unsupported("its sets are all secure, the smallest has N = 2^14")
    engine = Engine(max_level=case["levels"], **threads_of(case))
    log_n = engine.slot_count.bit_length()
    if log_n != case["log_n"]:
        raise Unsupported(f"its set with {case['levels']} levels has N = 2^{log_n}")
    secret = engine.create_secret_key()
    public, relinearisation = engine.create_public_key(secret), engine.create_relinearization_key(secret)
    rotations = [engine.create_fixed_rotation_key(secret, step) for step in ROTATIONS]
    count = engine.slot_count
    x, y = slots(1, count), slots(2, count)
    plain_x, plain_y = engine.encode(x), engine.encode(y)
    cipher_x, cipher_y = engine.encrypt(plain_x, public), engine.encrypt(plain_y, public)
    decrypt = lambda c: engine.decrypt(c, secret)
    level = lambda c: c.level
    worker = Worker()
    worker.parameters = describe(engine, cipher_x, log_n)
    worker.add("encode", lambda: engine.encode(x), x, engine.decode, level)
    worker.add("encrypt", lambda: engine.encrypt(plain_x, public), x, decrypt, level)
    worker.add("multiply", lambda: engine.multiply(cipher_x, cipher_y, relinearisation), x * y, decrypt, level)
    worker.add("square", lambda: engine.square(cipher_x, relinearisation), x * x, decrypt, level)
    worker.add("rotate", lambda: engine.rotate(cipher_x, rotations[0]), np.roll(x, -1), decrypt, level)
    worker.add("rotations", lambda: engine.rotate_many(cipher_x, rotations), np.roll(x, -ROTATIONS[-1]),
               lambda c: decrypt(c[-1]), lambda c: level(c[-1]))
    worker.add("plain", lambda: engine.multiply(cipher_x, plain_y), x * y, decrypt, level)
    return worker


def bootstrapping(case):
    """Full-slot bootstrapping of a ciphertext of level 0, with the default (medium) bootstrapping key."""
    engine = Engine(bootstrap=True, **threads_of(case))
    log_n = engine.slot_count.bit_length()
    if log_n != case["log_n"]:
        raise Unsupported(f"its bootstrapping set has N = 2^{log_n}")
    secret = engine.create_secret_key()
    public, relinearisation = engine.create_public_key(secret), engine.create_relinearization_key(secret)
    conjugation = engine.create_conjugation_key(secret)
    bootstrap = engine.create_bootstrap_key(secret)
    x = slots(1, engine.slot_count)
    exhausted = engine.encrypt(x, public, 0)
    worker = Worker()
    worker.parameters = describe(engine, exhausted, log_n)
    worker.parameters["key_bytes"] = bootstrap.nbytes + relinearisation.nbytes + conjugation.nbytes
    worker.add("bootstrap", lambda: engine.bootstrap(exhausted, relinearisation, conjugation, bootstrap), x,
               lambda c: engine.decrypt(c, secret), lambda c: c.level)
    return worker


if __name__ == "__main__":
    serve(lambda case: bootstrapping(case) if case["bootstrap"] else leveled(case))
