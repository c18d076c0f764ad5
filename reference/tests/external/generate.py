#!/usr/bin/env python3
"""Values of the specification's real functions, computed by mpmath, independently of the reference.

Writes one JSON file per operation next to this script. Inputs are binary64 numbers as hexadecimal floats, values are
decimal numbers with DIGITS significant digits of exact formulas evaluated with GUARD more. Needs mpmath 1.3.0.
"""
import json
import os
import random

import mpmath
from mpmath import mp, mpf

DIGITS = 170
GUARD = 700  # covers erfc and cancellations far out: 1 + erf(-30) is 1e-197
mp.dps = DIGITS + GUARD
HERE = os.path.dirname(os.path.abspath(__file__))
draw = random.Random(20241009)


def text(x):
    return mpmath.nstr(mpf(x), DIGITS, strip_zeros=True, min_fixed=0, max_fixed=0) if x else "0"


def hexed(x):
    if isinstance(x, bool):
        return "1" if x else "0"
    if isinstance(x, (int, str)):
        return str(x)
    if isinstance(x, float):
        return x.hex()
    return [hexed(entry) for entry in x]


def write(op, function, cases):
    assert len(cases) >= 50, (op, len(cases))
    done = [{"inputs": {k: hexed(v) for k, v in case.items()}, "values": [text(v) for v in function(**case)]} for case in cases]
    document = {"op": op, "source": f"mpmath {mpmath.__version__}, {DIGITS} digits", "cases": done}
    with open(os.path.join(HERE, op + ".json"), "w", encoding="ascii") as out:
        json.dump(document, out, indent=0, separators=(",", ":"))
        out.write("\n")


def uniform(low, high, count):
    return [draw.uniform(low, high) for _ in range(count)]


def exact(row):
    return [mpf(x) for x in row]


# Power-Softmax

def power_softmax(x, p, form, eps=1e-3, mask=None, delta=1e-6):
    mask = mask or [True] * len(x)
    live = [mpf(v) for v, m in zip(x, mask) if m]
    n, e = len(live), mpf(eps)
    if form == "ideal":
        bottom, top = sum(v**p for v in live), lambda v: v**p
    elif form in ("sum", "eps"):
        bottom, top = e + sum(v**p for v in live), lambda v: v**p
    else:  # the stable form is the same function of real numbers
        bottom, top = e + sum(v**p for v in live) / n, lambda v: v**p / n
    return [top(mpf(v)) / bottom if m else mpf(0) for v, m in zip(x, mask)]


def power_softmax_cases():
    hazard = [0.2, 0.1, 0.0, -0.1]
    cases = [{"x": hazard, "p": 4, "form": form, "eps": 1e-3} for form in ("sum", "eps", "mean", "stable")]
    cases += [{"x": [0.2 / 0.2, 0.1 / 0.2, 0.0, -0.1 / 0.2], "p": 4, "form": "sum", "eps": 1e-3}]
    cases += [{"x": [2.0, 1.0, 0.0, -1.0], "p": p, "form": "ideal"} for p in range(2, 13, 2)]
    for p in (2, 6, 12):
        for form in ("sum", "mean", "stable"):
            cases += [
                {"x": [1e-9, -2e-9, 3e-9], "p": p, "form": form},
                {"x": [1e300, -5e299, 1.0, 0.0], "p": p, "form": form},
                {"x": [0.0, 0.0, 0.0], "p": p, "form": form},
                {"x": [0.5, -7.0, 3.0], "p": p, "form": form, "mask": [False, True, False]},
            ]
    cases += [{"x": [1e-300, 1e-300], "p": 12, "form": "ideal"}, {"x": [5e-324, 1.0], "p": 2, "form": "ideal"}]
    cases += [{"x": [-3.5], "p": 4, "form": form} for form in ("ideal", "sum", "mean", "stable")]
    for i in range(20):
        n = draw.randint(2, 9)
        form = ("ideal", "sum", "mean", "stable")[i % 4]
        cases += [{"x": uniform(-4, 4, n), "p": 2 * draw.randint(1, 6), "form": form, "eps": draw.uniform(1e-4, 0.5),
                   "mask": [draw.random() < 0.7 or j == 0 for j in range(n)]}]
    return cases


# LayerNorm

def layer_norm(x, eps=1e-5, gamma=None, beta=None):
    row, n = exact(x), len(x)
    mean = sum(row) / n
    variance = sum((v - mean)**2 for v in row) / n
    root = mpmath.sqrt(variance + mpf(eps))
    gamma, beta = gamma or [1.0] * n, beta or [0.0] * n
    return [mpf(g) * (v - mean) / root + mpf(b) for v, g, b in zip(row, gamma, beta)]


def layer_norm_cases():
    cases = [{"x": [1.0]}, {"x": [3.0, 3.0, 3.0]}, {"x": [1e-200, -1e-200], "eps": 1e-5}, {"x": [1e150, -1e150, 1.0]},
             {"x": [1e8 + 1, 1e8, 1e8 - 1]}, {"x": [0.0, 0.0]}]
    for _ in range(46):
        n, spread = draw.randint(2, 8), 10.0 ** draw.randint(-4, 4)
        case = {"x": uniform(-spread, spread, n), "eps": draw.choice([1e-5, 1e-12, 0.01])}
        if draw.random() < 0.5:
            case |= {"gamma": uniform(-2, 2, n), "beta": uniform(-1, 1, n)}
        cases.append(case)
    return cases


def clenshaw(interval, coefficients, x):
    a, b = exact(interval)
    u = (2 * mpf(x) - a - b) / (b - a)
    return sum(mpf(c) * mpmath.chebyt(k, u) for k, c in enumerate(coefficients))


def polynomial_layer_norm(x, interval, coefficients, eps, newton, gamma, beta):
    row, n = exact(x), len(x)
    mean = sum(row) / n
    variance = sum((v - mean)**2 for v in row) / n
    y = clenshaw(interval, coefficients, variance)
    for _ in range(newton):
        y = y * (3 - (variance + mpf(eps)) * y**2) / 2
    return [mpf(g) * (v - mean) * y + mpf(b) for v, g, b in zip(row, gamma, beta)]


def polynomial_layer_norm_cases():
    cases = []
    for i in range(52):
        n = draw.randint(2, 6)
        spread = draw.uniform(0.8, 2.0)
        x = [spread * (1 if j % 2 else -1) * draw.uniform(0.8, 1.2) for j in range(n)]
        cases.append({"x": x, "interval": [0.01, 8.0], "coefficients": [0.8, -0.5, 0.2, -0.1, 0.04][: draw.randint(2, 5)],
                      "eps": 1e-5, "newton": i % 3, "gamma": uniform(-2, 2, n), "beta": uniform(-1, 1, n)})
    return cases


# Functions of one number

EDGES = [0.0, 1.0, -1.0, 0.5, -0.5, 1e-300, -1e-300, 5e-324, 1e-8, -1e-8, -0.7517915, -0.7517916, 3.0, -3.0, 6.0, -6.0,
         20.0, -20.0, -30.0]


def single(f):
    return lambda x: [f(v) for v in exact(x)]


def single_cases(extra, low, high):
    return [{"x": [v]} for v in EDGES + extra] + [{"x": [v]} for v in uniform(low, high, 40)]


def positive_cases(count, more):
    values = [1e-300, 5e-324, 1e300, 1.0, 4.0, 1e-5, 300.0, 1e9] + [10.0 ** draw.uniform(-9, 9) for _ in range(count)]
    return [{"x": [v]} | more(v) for v in values]


def newton_inverse_sqrt(x, start, steps):
    y = mpf(start)
    for _ in range(steps):
        y = y * (3 - mpf(x[0]) * y**2) / 2
    return [y]


def newton_reciprocal(x, start, steps):
    y = mpf(start)
    for _ in range(steps):
        y = y * (2 - mpf(x[0]) * y)
    return [y]


def newton_cases(power):
    cases = []
    for i in range(54):
        a = 10.0 ** draw.uniform(-6, 6)
        cases.append({"x": [a], "start": a ** -power * draw.uniform(0.3, 1.3), "steps": i % 8})
    return cases


def goldschmidt(x, interval, steps, relaxed):
    lo, hi = exact(interval)
    low, v, y = lo / hi, mpf(x[0]) / hi, 1 / hi
    for step in range(steps):
        k = 2 / (1 + low) if step == 0 or relaxed else mpf(1)
        y, v, low = k * y * (2 - k * v), k * v * (2 - k * v), k * low * (2 - k * low)
    return [y * 2 / (1 + low)]


def goldschmidt_cases():
    cases = [{"x": [v], "interval": [v, v], "steps": 1, "relaxed": False} for v in (1e-300, 3.0, 1e300)]
    for i in range(54):
        lo = 10.0 ** draw.uniform(-5, 1)
        hi = lo * 10.0 ** draw.uniform(0, 4)
        x = [lo, hi, draw.uniform(lo, hi)][i % 3]
        cases.append({"x": [x], "interval": [lo, hi], "steps": 1 + i % 16, "relaxed": bool(i % 2)})
    return cases


def chebyshev_cases():
    cases = []
    for i in range(54):
        a = draw.uniform(-5, 5)
        b = a + 10.0 ** draw.uniform(-2, 2)
        x = [a, b, draw.uniform(a, b)][i % 3]
        cases.append({"x": [x], "interval": [a, b], "coefficients": uniform(-1, 1, 1 + i)})
    return cases


# Linear algebra

def linear(x, weight, bias=None):
    bias = bias or [0.0] * len(weight)
    return [sum((mpf(w) * mpf(v) for w, v in zip(row, x)), mpf(b)) for row, b in zip(weight, bias)]


def linear_cases():
    cases = [{"x": [1e150, 1e150], "weight": [[1e150, 1e150], [1.0, -1.0]]}]
    for _ in range(51):
        n, m = draw.randint(1, 5), draw.randint(1, 3)
        case = {"x": uniform(-3, 3, n), "weight": [uniform(-1, 1, n) for _ in range(m)]}
        if draw.random() < 0.7:
            case["bias"] = uniform(-1, 1, m)
        cases.append(case)
    return cases


def rotary(x, position, size, base):
    row, half = exact(x), size // 2
    for i in range(half):
        angle = position * mpf(base) ** (mpf(-2 * i) / size)
        c, s = mpmath.cos(angle), mpmath.sin(angle)
        row[i], row[i + half] = row[i] * c - row[i + half] * s, row[i + half] * c + row[i] * s
    return row


def rotary_cases():
    cases = []
    for i in range(52):
        n = 2 * draw.randint(1, 3)
        size = n if i % 3 else 2 * (n // 4)
        position = [0, 1, 2, 63, 2047, 131071][i % 6]
        cases.append({"x": uniform(-2, 2, n), "position": position, "size": size, "base": draw.choice([10000.0, 500000.0])})
    return cases


def attention(query, key, value, p, eps, form, score_scale, causal, mask):
    out = []
    for i, q in enumerate(query):
        scores = [sum(mpf(a) * mpf(b) for a, b in zip(q, k)) / (mpmath.sqrt(len(q)) * mpf(score_scale)) for k in key]
        live = [m and (not causal or j <= i) for j, m in enumerate(mask)]
        weights = power_softmax(scores, p, form, eps, live)
        out += [sum(w * mpf(v[c]) for w, v in zip(weights, value)) for c in range(len(value[0]))]
    return out


def attention_cases():
    cases = []
    for i in range(52):
        tokens, size, width = draw.randint(1, 3), draw.randint(1, 3), draw.randint(1, 2)
        matrix = lambda w, r: [uniform(-r, r, w) for _ in range(tokens)]
        mask = [j == 0 or draw.random() < 0.7 for j in range(tokens)]
        cases.append({"query": matrix(size, 2), "key": matrix(size, 2), "value": matrix(width, 1), "p": 2 * (1 + i % 6),
                      "eps": draw.choice([1e-3, 0.01]), "form": ["mean", "sum", "ideal"][i % 3],
                      "score_scale": draw.choice([1.0, 1.5]), "causal": bool(i % 2), "mask": mask})
    return cases


def main():
    write("power-softmax", power_softmax, power_softmax_cases())
    write("layer-norm", layer_norm, layer_norm_cases())
    write("polynomial-layer-norm", polynomial_layer_norm, polynomial_layer_norm_cases())
    write("gelu", single(lambda v: v * mpmath.erfc(-v / mpmath.sqrt(2)) / 2), single_cases([1e300, 40.0], -8, 8))
    write("tanh", single(mpmath.tanh), single_cases([1e300, -1e300], -6, 6))
    write("erf", single(mpmath.erf), single_cases([1e300, -1e300], -6, 6))
    write("exp", single(mpmath.exp), single_cases([700.0, -700.0, 5000.0, -5000.0], -10, 10))
    write("inverse-sqrt", lambda x, shift: [1 / mpmath.sqrt(mpf(x[0]) + mpf(shift))],
          positive_cases(45, lambda v: {"shift": draw.choice([0.0, 1e-5, 1e-12])}))
    write("newton-inverse-sqrt", newton_inverse_sqrt, newton_cases(0.5))
    write("reciprocal", lambda x, shift: [1 / (mpf(x[0]) + mpf(shift))],
          positive_cases(45, lambda v: {"shift": draw.choice([0.0, 1e-3, 0.01])}))
    write("newton-reciprocal", newton_reciprocal, newton_cases(1.0))
    write("goldschmidt", goldschmidt, goldschmidt_cases())
    write("chebyshev", lambda x, interval, coefficients: [clenshaw(interval, coefficients, x[0])], chebyshev_cases())
    write("linear", linear, linear_cases())
    write("rotary", rotary, rotary_cases())
    write("attention", attention, attention_cases())


if __name__ == "__main__":
    main()
