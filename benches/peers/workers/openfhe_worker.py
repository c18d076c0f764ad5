"""OpenFHE through its own Python package."""
import math
import time

import numpy as np
import openfhe as fhe
from protocol import ROTATIONS, Unsupported, Worker, serve, slots

AUXILIARY_BITS = 60
FEATURES = [fhe.PKE, fhe.KEYSWITCH, fhe.LEVELEDSHE, fhe.ADVANCEDSHE, fhe.FHE]


def context(log_n, depth, scale_bits, first_bits, digits, technique, secret, secure):
    """A context, or None where the library refuses the parameters at 128 bits of classical security."""
    parameters = fhe.CCParamsCKKSRNS()
    parameters.SetRingDim(1 << log_n)
    parameters.SetBatchSize(1 << (log_n - 1))
    parameters.SetMultiplicativeDepth(depth)
    parameters.SetScalingModSize(scale_bits)
    parameters.SetFirstModSize(first_bits)
    parameters.SetNumLargeDigits(digits)
    parameters.SetScalingTechnique(technique)
    parameters.SetKeySwitchTechnique(fhe.HYBRID)
    parameters.SetSecretKeyDist(secret)
    parameters.SetSecurityLevel(fhe.HEStd_128_classic if secure else fhe.HEStd_NotSet)
    parameters.SetCKKSDataType(fhe.COMPLEX)
    try:
        made = fhe.GenCryptoContext(parameters)
    except RuntimeError:
        return None
    for feature in FEATURES:
        made.Enable(feature)
    return made


def describe(made, depth, scale_bits, first_bits, digits, secret, secure):
    """The parameters in force. The library's special primes have 60 bits and cover the largest digit; its modulus is given as
    a float, which long moduli overflow, so that the nominal sizes of primes stand in for it there."""
    primes = depth + 1
    per_digit = math.ceil(primes / digits)
    special = math.ceil((per_digit * scale_bits + first_bits - scale_bits) / AUXILIARY_BITS)
    modulus = made.GetModulus()
    log_q = math.log2(modulus) if math.isfinite(modulus) else float(first_bits + depth * scale_bits)
    return {
        "log_n": made.GetRingDimension().bit_length() - 1, "levels": depth, "primes": primes, "log_q": log_q,
        "special_primes": special, "log_qp": log_q + special * AUXILIARY_BITS, "digits": digits, "scale_bits": scale_bits,
        "secret": str(secret).split(".")[-1], "secure": secure,
    }


def decrypter(made, secret_key, count):
    def decrypt(ciphertext):
        plain = made.Decrypt(ciphertext, secret_key)
        plain.SetLength(count)
        return np.array(plain.GetCKKSPackedValue())
    return decrypt


def multiply_seconds(made, count):
    """The shortest of three products with relinearisation and rescale."""
    keys = made.KeyGen()
    made.EvalMultKeyGen(keys.secretKey)
    cipher = made.Encrypt(keys.publicKey, made.MakeCKKSPackedPlaintext(slots(1, count), 1, 0))
    times = []
    for _ in range(3):
        start = time.perf_counter()
        made.Rescale(made.EvalMult(cipher, cipher))
        times.append(time.perf_counter() - start)
    fhe.ClearEvalMultKeys()
    return min(times)


def fastest_context(case, count):
    """The context and number of digits that multiply fastest: few digits mean few products but long special moduli, so the
    fewest that the library accepts and the next number are both tried."""
    depth, secure = case["levels"], case["secure"]
    accepted = []
    for digits in range(1, depth + 2) if secure else [case["digits"]]:
        made = context(case["log_n"], depth, case["scale_bits"], case["first_bits"], digits, fhe.FIXEDMANUAL,
                       fhe.UNIFORM_TERNARY, secure)
        if made:
            accepted.append((multiply_seconds(made, count), digits, made))
        if len(accepted) == 2:
            break
    if not accepted:
        raise Unsupported(f"no number of digits gives 128-bit security with {depth} levels at N = 2^{case['log_n']}")
    tried = {digits: round(1e3 * seconds, 1) for seconds, digits, _ in accepted}
    _, digits, made = min(accepted, key=lambda one: one[0])
    return made, digits, tried


def leveled(case):
    """Operations at the top level with manual rescaling, its cheapest mode."""
    depth, secure = case["levels"], case["secure"]
    count = 1 << (case["log_n"] - 1)
    made, digits, tried = fastest_context(case, count)
    arguments = (case["scale_bits"], case["first_bits"])
    worker = Worker()
    worker.parameters = describe(made, depth, *arguments, digits, fhe.UNIFORM_TERNARY, secure)
    worker.parameters["notes"] = [f"digits tried, ms for multiply: {tried}"]
    keys = made.KeyGen()
    made.EvalMultKeyGen(keys.secretKey)
    made.EvalRotateKeyGen(keys.secretKey, ROTATIONS)
    x, y = slots(1, count), slots(2, count)
    plain_x, plain_y = made.MakeCKKSPackedPlaintext(x, 1, 0), made.MakeCKKSPackedPlaintext(y, 1, 0)
    cipher_x, cipher_y = made.Encrypt(keys.publicKey, plain_x), made.Encrypt(keys.publicKey, plain_y)
    decrypt = decrypter(made, keys.secretKey, count)
    level = lambda c: depth - c.GetLevel()

    def hoisted():
        digits = made.EvalFastRotationPrecompute(cipher_x)
        return [made.EvalFastRotation(cipher_x, step, digits) for step in ROTATIONS]

    # A plaintext keeps the values it was made from: only what comes back from a ciphertext shows the encoding.
    worker.add("encode", lambda: made.MakeCKKSPackedPlaintext(x, 1, 0), x,
               lambda p: decrypt(made.Encrypt(keys.publicKey, p)), level)
    worker.add("encrypt", lambda: made.Encrypt(keys.publicKey, plain_x), x, decrypt, level)
    worker.add("multiply", lambda: made.Rescale(made.EvalMult(cipher_x, cipher_y)), x * y, decrypt, level)
    worker.add("square", lambda: made.Rescale(made.EvalSquare(cipher_x)), x * x, decrypt, level)
    worker.add("rotate", lambda: made.EvalRotate(cipher_x, 1), np.roll(x, -1), decrypt, level)
    worker.add("rotations", hoisted, np.roll(x, -ROTATIONS[-1]), lambda c: decrypt(c[-1]), lambda c: level(c[-1]))
    worker.add("plain", lambda: made.Rescale(made.EvalMult(cipher_x, plain_y)), x * y, decrypt, level)
    return worker


def bootstrapping(case):
    """Full-slot bootstrapping with as many levels left as the library accepts for the scale and digits."""
    log_n, bits, first, digits = case["log_n"], case["scale_bits"], case["first_bits"], case["digits"]
    budget, first_slots = case["level_budget"], case["slots_first"]
    secret = getattr(fhe, case["secret"])
    used = fhe.CryptoContext.GetBootstrapDepth(budget, secret)
    levels = [case["levels"]] if case["levels"] else range(40 - used, 0, -1)
    for left in levels:
        made = context(log_n, used + left, bits, first, digits, fhe.FLEXIBLEAUTO, secret, case["secure"])
        if made:
            break
    else:
        raise Unsupported(f"no levels left at 128-bit security with {bits}-bit scales and {digits} digits")
    depth = used + left
    worker = Worker()
    worker.parameters = describe(made, depth, bits, first, digits, secret, case["secure"])
    worker.parameters["level_budget"] = budget
    worker.parameters["order"] = "StC first" if first_slots else "CtS first"
    count = 1 << (log_n - 1)
    made.EvalBootstrapSetup(budget, [0, 0], count, 0, True, first_slots)
    keys = made.KeyGen()
    made.EvalMultKeyGen(keys.secretKey)
    made.EvalBootstrapKeyGen(keys.secretKey, count)
    x = slots(1, count)
    needed = budget[1] if first_slots else 0
    exhausted = made.Encrypt(keys.publicKey, made.MakeCKKSPackedPlaintext(x, 1, depth - 1 - needed))
    run = made.EvalBootstrapStCFirst if first_slots else made.EvalBootstrap
    # Levels that a bootstrap itself consumes at its start are not left for other work.
    level = lambda c: depth - c.GetLevel() - (c.GetNoiseScaleDeg() - 1) - needed
    worker.add("bootstrap", lambda: run(exhausted), x, decrypter(made, keys.secretKey, count), level)
    return worker


if __name__ == "__main__":
    serve(lambda case: bootstrapping(case) if case["bootstrap"] else leveled(case))
