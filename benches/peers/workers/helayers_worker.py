"""HElayers with the SEAL that its package brings; its tile operations do the bookkeeping of scales and levels."""
import math

import numpy as np
import pyhelayers as he
from protocol import ROTATIONS, Unsupported, Worker, serve, slots

LARGEST_CHECKED_LOG_N = 15


def requirement(case, checked):
    """What HElayers chooses its parameters from."""
    arguments = {
        "num_slots": 1 << (case["log_n"] - 1), "multiplication_depth": case["levels"],
        "fractional_part_precision": case["scale_bits"], "integer_part_precision": case["first_bits"] - case["scale_bits"],
    }
    made = he.HeConfigRequirement(security_level=128, **arguments) if checked else he.HeConfigRequirement.insecure(**arguments)
    functions = he.PublicFunctions()
    functions.rotate = he.RotationSetType.CUSTOM_ROTATIONS
    functions.set_rotation_steps([1])
    made.public_functions = functions
    return made


def leveled(case):
    checked = case["secure"] and case["log_n"] <= LARGEST_CHECKED_LOG_N
    context = he.SealCkksContext()
    try:
        context.init(requirement(case, checked))
    except RuntimeError as refusal:
        raise Unsupported(str(refusal)) from refusal
    if context.slot_count() != 1 << (case["log_n"] - 1):
        raise Unsupported(f"it chose {context.slot_count()} slots")
    encoder = he.Encoder(context)
    count = context.slot_count()
    x, y = slots(1, count), slots(2, count)
    plain_x, plain_y = encoder.encode(x), encoder.encode(y)
    cipher_x, cipher_y = encoder.encrypt_tile(plain_x), encoder.encrypt_tile(plain_y)
    decrypt = lambda c: np.array(encoder.decrypt_decode_complex(c))
    level = lambda c: c.get_chain_index()

    def changed(action):
        """`action` on a copy."""
        def run():
            result = he.CTile(cipher_x)
            action(result)
            return result
        return run

    rotate = changed(lambda c: c.rotate(1))
    chain = [math.log2(int(q)) for q in context.get_modulus_chain()]
    worker = Worker()
    worker.kept = [context, encoder]
    worker.parameters = {
        "log_n": case["log_n"], "levels": context.get_top_chain_index(), "primes": len(chain), "log_q": sum(chain),
        "special_primes": 1, "digits": len(chain), "scale_bits": case["scale_bits"], "secret": "UNIFORM_TERNARY",
        "secure": case["secure"], "backend": context.get_library_name(),
        "notes": ["SEAL underneath: no hoisting, rotations are separate, with one key"]
                 + ([] if checked or not case["secure"] else ["SEAL's own security table ends at N = 2^15"]),
    }
    worker.add("encode", lambda: encoder.encode(x), x, lambda p: np.array(encoder.decode_complex(p)), level)
    worker.add("encrypt", lambda: encoder.encrypt_tile(plain_x), x, decrypt, level)
    worker.add("multiply", changed(lambda c: c.multiply(cipher_y)), x * y, decrypt, level)
    worker.add("square", changed(lambda c: c.square()), x * x, decrypt, level)
    worker.add("rotate", rotate, np.roll(x, -1), decrypt, level)
    worker.add("rotations", lambda: [rotate() for _ in ROTATIONS], np.roll(x, -1), lambda c: decrypt(c[-1]),
               lambda c: level(c[-1]))
    worker.add("plain", changed(lambda c: c.multiply_plain(plain_y)), x * y, decrypt, level)
    return worker


if __name__ == "__main__":
    serve(leveled)
