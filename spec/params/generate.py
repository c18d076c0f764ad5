#!/usr/bin/env python3
"""Writes the parameter presets of this folder (needs sympy and mpmath).

Chain primes are chosen from the top level down: each is the unused prime congruent to 1 modulo 2N nearest to the square of
its level's canonical scale divided by the section's scale, so that canonical scales stay near the section's.
"""
import json
import math
import pathlib
import sys

import mpmath
from sympy import isprime

UNIFORM = {"kind": "uniform-ternary"}
SIGMA = (3.2).hex()
# Primes are below 2^50.
MAX_PRIME_BITS = 49.97


class Primes:
    """Distinct primes congruent to 1 modulo 2N."""

    def __init__(self, log_n):
        self.step = 2 << log_n
        self.used = set()

    def below(self, bound, count=1):
        """The largest unused primes below `bound`."""
        found, value = [], (bound - 2) // self.step * self.step + 1
        while len(found) < count:
            if value not in self.used and isprime(value):
                found.append(value)
            value -= self.step
        self.used.update(found)
        return found

    def near(self, centre):
        """The unused prime nearest to `centre`, the smaller one of two."""
        start, distance = (centre - 1) // self.step, 0
        while True:
            for k in sorted({start - distance, start + distance}, key=lambda k: (abs(k * self.step + 1 - centre), k)):
                value = k * self.step + 1
                if value not in self.used and isprime(value):
                    self.used.add(value)
                    return value
            distance += 1


def section(primes, scale, levels):
    """Chain primes and canonical scales of `levels` levels, top first; the scales have one entry more."""
    return steps(primes, scale, [scale] * levels)


def steps(primes, scale, targets, pairs=()):
    """As `section`, for levels whose scales are near `targets`; steps with a number in `pairs` take two primes."""
    chain, scales = [], [scale]
    for number, target in enumerate(targets):
        divisor = scales[-1] * scales[-1] / target
        if number in pairs:
            chain.append(primes.near(round(math.sqrt(divisor))))
            scales.append(scales[-1] * scales[-1] / float(chain[-1]))
            chain.append(primes.near(round(scales[-1] / target)))
            scales.append(scales[-1] / float(chain[-1]))
        else:
            chain.append(primes.near(round(divisor)))
            scales.append(scales[-1] * scales[-1] / float(chain[-1]))
    return chain, scales


def raised(upper_bits, levels, factors, square_bits, map_bits):
    """Start and targets of an upper section in which the first square of the cosine, `T_2`, has a scale of `square_bits`, and
    CtS primes of `map_bits`. Primes of almost 50 bits keep the scale of `T_4` low; the step after it is a pair."""
    prime = MAX_PRIME_BITS
    excess = (square_bits + prime) / 2 - map_bits
    maps = [map_bits + excess * 2.0 ** (i - factors) for i in range(factors + 1)]
    above = maps[1:] + [square_bits, 2 * square_bits - prime]
    return 2.0 ** maps[0], [2.0**bits for bits in above + [upper_bits] * (levels - len(above))], factors + 2


def descended(targets, upper_bits, last_bits):
    """The targets with the last one at `last_bits` and, before it, the steps that primes of almost 50 bits need to get down."""
    lowered, bits = list(targets), last_bits
    for i in range(len(targets) - 1, -1, -1):
        if bits >= upper_bits:
            break
        lowered[i] = 2.0**bits
        bits = (bits + MAX_PRIME_BITS) / 2
    return lowered


def failure(log_n, ephemeral, range_, ratio):
    """log2 of the bound of `r[boot.modraise.range]` on the failure probability of a bootstrap; minus infinity if it is 0."""
    if range_ >= (ephemeral + 1) / 2 + 0.25:
        return -math.inf
    y = ephemeral / 2 - range_ + 0.5 + 2.0**-ratio
    tails = y**ephemeral + max(y - 1, 0) ** ephemeral
    return log_n + math.log2(tails) - math.log2(math.factorial(ephemeral))


def literal(name, about, log_n, chain, special, digit_size, scales, secret, security):
    bits = sum(math.log2(x) for x in chain + special)
    print(f"{name}: {len(chain)} + {len(special)} primes, log2(QP) = {bits:.2f}", file=sys.stderr)
    return {
        "name": name, "description": about, "log_n": log_n, "q": chain, "p": special, "digit_size": digit_size,
        "scale": float(scales[-1]).hex(), "canonical_scales": [float(s).hex() for s in scales], "secret": secret,
        "sigma": SIGMA, "security": security,
    }


def leveled(name, about, log_n, q0_bits, scale_bits, levels, p_bits, special, digit_size, secret, security):
    """A set without bootstrapping."""
    primes = Primes(log_n)
    p = primes.below(1 << p_bits, special)
    q0 = primes.below(1 << q0_bits)
    chain, scales = section(primes, float(1 << scale_bits), levels)
    return literal(name, about, log_n, q0 + chain[::-1], p, digit_size, scales[::-1], secret, security)


def cosine(range_, double_angles, degree):
    """Even Chebyshev coefficients of cos(2 pi range u / 2^r) on [-1, 1], by its Bessel series, and their largest error.

    The error is a sum of cosines of order n = degree + 40 at most, up to a tail that is added. Between M equally spaced angles
    of the full circle it exceeds the largest value on them by a factor 1 / cos(pi n / M) at most (Ehlich and Zeller).
    """
    mpmath.mp.prec = 200
    argument = 2 * mpmath.pi * range_ / 2**double_angles
    value = lambda k: (1 if k == 0 else 2) * (-1) ** (k // 2) * mpmath.besselj(k, argument)
    coefficients = [float(value(k)) if k % 2 == 0 else 0.0 for k in range(degree + 1)]
    order = degree + 40
    rest = [(k, float(value(k) - (coefficients[k] if k <= degree else 0))) for k in range(0, order + 1, 2)]
    angles = (math.pi * j / (64 * order) for j in range(64 * order + 1))
    seen = max(abs(math.fsum(d * math.cos(k * angle) for k, d in rest)) for angle in angles)
    tail = sum(abs(value(k)) for k in range(order + 2, order + 60, 2))
    return coefficients, (seen / math.cos(math.pi / 128) + float(tail)) * (1 + 2**-30)


def output(ratio, terms):
    """Odd coefficients of 2^ratio arcsin(s) / (2 pi) for |s| <= sin(2 pi / 2^ratio), in s, s^3, ...: the next term of the
    series, c s^d, is replaced by what is nearest to it, c (s^d - b^d T_d(s/b) / 2^(d-1)). A single coefficient is that of
    the series: its error is cubic, so that small slots, which most are in a network, keep their precision."""
    mpmath.mp.prec = 200
    if terms == 1:
        return [float(mpmath.mpf(2) ** ratio / (2 * mpmath.pi))]
    bound = mpmath.sin(2 * mpmath.pi / 2**ratio)
    series = [mpmath.binomial(2 * k, k) / (4**k * (2 * k + 1)) for k in range(terms + 1)]
    degree = 2 * terms + 1
    coefficients = series[:terms]
    chebyshev = mpmath.taylor(lambda x: mpmath.chebyt(degree, x), 0, degree)
    for k in range(terms):
        power = 2 * k + 1
        coefficients[k] -= series[terms] * chebyshev[power] * bound ** (degree - power) / 2 ** (degree - 1)
    return [float(c * 2**ratio / (2 * mpmath.pi)) for c in coefficients]


def geometric(start, end, count):
    """Labels after each of `count` factors, from `start` to `end` in equal ratios."""
    return [start * (end / start) ** (i / count) for i in range(1, count)] + [end]


def bootstrapping(name, about, log_n, *, upper_bits, user_bits, levels, ratio, radices, ephemeral, double_angles, degree,
                  terms, special, digit_size, security, range_=None, square_bits=None, map_bits=None, special_bits=None):
    """A set with bootstrapping: q_0, StC and user levels, EvalMod, CtS from the bottom up.

    `terms` odd terms make up for the sine. With one of them the scale of the output level is that of the upper section's end
    over the term's coefficient: without `user_bits` it follows from `upper_bits`, with them the last steps descend to it.
    Without `range_` ModRaise cannot fail; `square_bits` and `map_bits` are those of `raised`. The first special prime is above
    q_0, the others have `special_bits`.
    """
    primes = Primes(log_n)
    p = primes.below(int(2 ** min(upper_bits + 0.2, MAX_PRIME_BITS + 0.01)), special if special_bits is None else 1)
    if special_bits is not None:
        p += primes.below(int(2**special_bits), special - 1)
    upper_scale = 2.0**upper_bits
    q0 = primes.near(round(upper_scale))
    range_ = range_ or math.ceil((ephemeral + 1) / 2 + 0.25)
    log_failure = failure(log_n, ephemeral, range_, ratio)
    if log_failure > -math.inf:
        about += f"; ModRaise fails with probability below 2^{math.ceil(log_failure)}"
    depth = degree.bit_length()
    upper = len(radices) + depth + double_angles + (0, 2, 3)[terms - 1]
    top, targets, pair = (upper_scale, [upper_scale] * upper, None) if square_bits is None else \
        raised(upper_bits, upper, len(radices), square_bits, map_bits)
    odd = output(ratio, terms)
    if terms == 1 and user_bits is not None:
        targets = descended(targets, upper_bits, user_bits + math.log2(odd[0]))
    upper_chain, upper_scales = steps(primes, top, targets, [pair])
    output_scale = 2.0**user_bits if terms > 1 else upper_scales[-1] / odd[0]
    user_levels = levels + len(radices)
    user_chain, user_scales = section(primes, output_scale, user_levels)
    chain = [q0] + user_chain[::-1] + upper_chain[::-1]
    scales = user_scales[::-1] + upper_scales[::-1][1:]
    coefficients, error = cosine(range_, double_angles, degree)
    result = literal(name, about, log_n, chain, p, digit_size, scales, UNIFORM, security)
    to_coefficients = geometric(scales[len(radices)], q0 * 2.0**-ratio, len(radices))
    to_slots = geometric(float(q0) * range_, upper_scales[len(radices)], len(radices))
    pairs = {} if pair is None else {"pairs": [len(chain) - 1 - pair]}
    factor = lambda radix, label: {"log_radix": radix, "label": float(label).hex()}
    result["bootstrap"] = {
        "ephemeral_weight": ephemeral,
        "output_level": user_levels,
        "message_ratio": ratio,
        "slots_to_coeffs": [factor(r, s) for r, s in zip(radices, to_coefficients)],
        "coeffs_to_slots": [factor(r, s) for r, s in zip(radices[::-1], to_slots)],
        "range": range_,
        **pairs,
        "double_angles": double_angles,
        "cosine": [float(c).hex() for c in coefficients],
        "cosine_error": error.hex(),
        "output": [float(c).hex() for c in odd],
    }
    return result


FIXED = {"kind": "fixed-weight", "weight": 64}
PRESETS = [
    leveled("toy-n5", "N = 32: exhaustive comparisons, reference runs in microseconds", 5, 49, 40, 5, 48, 2, 2, UNIFORM,
            "insecure"),
    leveled("toy-n5-deep", "N = 32, 44 levels: whole models on 16 batch entries in the reference", 5, 49, 40, 44, 49, 9,
            9, UNIFORM, "insecure"),
    leveled("toy-n5-deepest", "N = 32, 80 levels: sequential blocks and encoders on ciphertexts in the reference", 5, 49,
            40, 80, 49, 9, 9, UNIFORM, "insecure"),
    leveled("toy-n8", "N = 256: every kernel path, sparse secret", 8, 49, 40, 8, 49, 3, 3, FIXED, "insecure"),
    leveled("small-n12", "N = 4096: all operations in seconds in the reference; below 128-bit security", 12, 49, 40, 8,
            48, 3, 3, UNIFORM, "insecure"),
    leveled("n15-leveled", "N = 32768, 14 levels of 40 bits, no bootstrapping", 15, 49, 40, 14, 48, 5, 5, UNIFORM,
            "classical-128"),
    leveled("n16-leveled", "N = 65536, 34 levels of 40 bits, no bootstrapping: deep enough for a one-layer model", 16, 49,
            40, 34, 48, 7, 8, UNIFORM, "classical-128"),
    bootstrapping("toy-n5-boot", "N = 32: bootstrapping with two output terms, exhaustive comparisons", 5, upper_bits=49.7,
                  user_bits=40, levels=2, ratio=7, radices=[2, 2], ephemeral=8, double_angles=2, degree=26, terms=2,
                  special=4, digit_size=4, security="insecure"),
    bootstrapping("toy-n8-boot", "N = 256: bootstrapping with one output term", 8, upper_bits=45.5, user_bits=None,
                  levels=2, ratio=9, radices=[3, 4], ephemeral=32, double_angles=2, degree=56, terms=1, special=5,
                  digit_size=5, security="insecure"),
    bootstrapping("toy-n5-boot-pair", "N = 32: bootstrapping with a pair of primes as in n16-boot, exhaustive comparisons", 5,
                  upper_bits=49.92, user_bits=40, levels=2, ratio=7, radices=[2, 2], ephemeral=8, double_angles=2, degree=26,
                  terms=2, special=4, digit_size=4, security="insecure", square_bits=53.8, map_bits=49.6),
    bootstrapping("small-n12-boot", "N = 4096: bootstrapping as in n16-boot, below 128-bit security", 12, upper_bits=49.92,
                  user_bits=40, levels=3, ratio=7, radices=[4, 4, 3], ephemeral=32, double_angles=2, degree=46,
                  terms=2, special=6, digit_size=6, security="insecure", range_=14, square_bits=53.8, map_bits=49.6),
    bootstrapping("n15-boot", "N = 32768: bootstrapping that leaves 4 levels", 15, upper_bits=45.8, user_bits=None,
                  levels=4, ratio=9, radices=[7, 7], ephemeral=32, double_angles=2, degree=46, terms=1, special=3,
                  digit_size=3, security="classical-128", range_=14),
    bootstrapping("n16-boot", "N = 65536: bootstrapping that leaves 13 levels of 40 bits", 16, upper_bits=49.92,
                  user_bits=40, levels=13, ratio=7, radices=[5, 5, 5], ephemeral=32, double_angles=2, degree=46,
                  terms=2, special=8, digit_size=8, security="classical-128", range_=14, square_bits=53.8, map_bits=49.6,
                  special_bits=48.9),
    bootstrapping("n16-boot-deep", "N = 65536: less precision, 17 levels left, for inference", 16, upper_bits=46.6,
                  user_bits=None, levels=17, ratio=9, radices=[5, 5, 5], ephemeral=32, double_angles=2, degree=46,
                  terms=1, special=8, digit_size=8, security="classical-128", range_=14),
    bootstrapping("n16-boot-17", "N = 65536: bootstrapping that leaves 17 levels of 40 bits, with larger keys than n16-boot-deep", 16,
                  upper_bits=49.92, user_bits=40, levels=17, ratio=11, radices=[5, 5, 5], ephemeral=32, double_angles=2,
                  degree=46, terms=1, special=7, digit_size=7, security="classical-128", range_=14, square_bits=53.8,
                  map_bits=49.6, special_bits=46.8),
]

if __name__ == "__main__":
    folder = pathlib.Path(__file__).parent
    for preset in PRESETS:
        (folder / f"{preset['name']}.json").write_text(json.dumps(preset, indent=1) + "\n")
