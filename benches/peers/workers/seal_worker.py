"""SEAL, through the plain bindings of its interface in the package tenseal."""
import math
import time

import numpy as np
import tenseal.sealapi as seal
from protocol import ROTATIONS, Unsupported, Worker, serve, slots

GALOIS_ELEMENT_OF_ONE_STEP = 3
LARGEST_CHECKED_LOG_N = 15


def parameters_of(case):
    """One special prime and one digit for each prime: the only key switching that SEAL has."""
    log_n, bits, first = case["log_n"], case["scale_bits"], case["first_bits"]
    parameters = seal.EncryptionParameters(seal.SCHEME_TYPE.CKKS)
    parameters.set_poly_modulus_degree(1 << log_n)
    parameters.set_coeff_modulus(seal.CoeffModulus.Create(1 << log_n, [first] + [bits] * case["levels"] + [first]))
    return parameters


def conversion_ns(encoder, values, scale):
    """What the bindings take to turn a list into the library's vector: a call that is refused right after it."""
    plain, times = seal.Plaintext(), []
    for _ in range(9):
        start = time.perf_counter_ns()
        try:
            encoder.encode(values, [1, 2, 3, 4], scale, plain)
        except ValueError:
            times.append(time.perf_counter_ns() - start)
    return sorted(times)[len(times) // 2] if times else 0


def leveled(case):
    checked = case["secure"] and case["log_n"] <= LARGEST_CHECKED_LOG_N
    security = seal.SEC_LEVEL_TYPE.TC128 if checked else seal.SEC_LEVEL_TYPE.NONE
    parameters = parameters_of(case)
    context = seal.SEALContext(parameters, True, security)
    if not context.parameters_set():
        raise Unsupported(context.parameters_error_message())
    chain = [math.log2(q.value()) for q in parameters.coeff_modulus()]
    count, scale = 1 << (case["log_n"] - 1), 2.0 ** case["scale_bits"]
    generator = seal.KeyGenerator(context)
    secret = generator.secret_key()
    public, relinearisation, galois = seal.PublicKey(), seal.RelinKeys(), seal.GaloisKeys()
    generator.create_public_key(public)
    generator.create_relin_keys(relinearisation)
    generator.create_galois_keys([GALOIS_ELEMENT_OF_ONE_STEP], galois)
    encoder, encryptor = seal.CKKSEncoder(context), seal.Encryptor(context, public)
    decryptor, evaluator = seal.Decryptor(context, secret), seal.Evaluator(context)
    x, y = slots(1, count), slots(2, count)
    list_x, list_y = x.tolist(), y.tolist()
    plain_x, plain_y, cipher_x, cipher_y = seal.Plaintext(), seal.Plaintext(), seal.Ciphertext(), seal.Ciphertext()
    encoder.encode(list_x, scale, plain_x)
    encoder.encode(list_y, scale, plain_y)
    encryptor.encrypt(plain_x, cipher_x)
    encryptor.encrypt(plain_y, cipher_y)

    def decode(plain):
        return np.array(encoder.decode_complex(plain))

    def decrypt(ciphertext):
        plain = seal.Plaintext()
        decryptor.decrypt(ciphertext, plain)
        return decode(plain)

    def level(ciphertext):
        return context.get_context_data(ciphertext.parms_id()).chain_index()

    def into(make, action):
        """`action` on a fresh result."""
        def run():
            result = make()
            action(result)
            return result
        return run

    def product(result):
        evaluator.multiply(cipher_x, cipher_y, result)
        evaluator.relinearize_inplace(result, relinearisation)
        evaluator.rescale_to_next_inplace(result)

    def square(result):
        evaluator.square(cipher_x, result)
        evaluator.relinearize_inplace(result, relinearisation)
        evaluator.rescale_to_next_inplace(result)

    def plain(result):
        evaluator.multiply_plain(cipher_x, plain_y, result)
        evaluator.rescale_to_next_inplace(result)

    rotate = lambda result: evaluator.rotate_vector(cipher_x, 1, galois, result)
    worker = Worker()
    top = case["levels"]
    worker.parameters = {
        "log_n": case["log_n"], "levels": top, "primes": top + 1, "log_q": sum(chain[:-1]), "special_primes": 1,
        "log_qp": sum(chain), "digits": top + 1, "scale_bits": case["scale_bits"], "secret": "UNIFORM_TERNARY",
        "secure": case["secure"], "conversion_ns": {"encode": conversion_ns(encoder, list_x, scale)},
        "notes": ["no hoisting: rotations are separate, with one key", "encode: the bindings' list conversion is subtracted"]
                 + ([] if checked or not case["secure"] else ["SEAL's own security table ends at N = 2^15"]),
    }
    worker.add("encode", into(seal.Plaintext, lambda p: encoder.encode(list_x, scale, p)), x, decode, level)
    worker.add("encrypt", into(seal.Ciphertext, lambda c: encryptor.encrypt(plain_x, c)), x, decrypt, level)
    worker.add("multiply", into(seal.Ciphertext, product), x * y, decrypt, level)
    worker.add("square", into(seal.Ciphertext, square), x * x, decrypt, level)
    worker.add("rotate", into(seal.Ciphertext, rotate), np.roll(x, -1), decrypt, level)
    worker.add("rotations", lambda: [into(seal.Ciphertext, rotate)() for _ in ROTATIONS], np.roll(x, -1),
               lambda c: decrypt(c[-1]), lambda c: level(c[-1]))
    worker.add("plain", into(seal.Ciphertext, plain), x * y, decrypt, level)
    return worker


if __name__ == "__main__":
    serve(leveled)
