//! Recording changes no result, counts what the formulas of a key switch say, and books every nanosecond once.
//!
//! Counters are those of the process, so these tests are a program of their own and take turns.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use touchstone_ckks::circuits::bootstrap::Bootstrapper;
use touchstone_ckks::circuits::linear::LinearMap;
use touchstone_ckks::circuits::polynomial::{Plan, Polynomial, evaluate_plan};
use touchstone_ckks::instrument::{Operation, Recording, Snapshot, Stage, process_time, snapshot};
use touchstone_ckks::{
    Ciphertext, Complex64, Context, Encoder, EvaluationKeys, Evaluator, KeyGenerator, Parameters, Security, Seed,
    encrypt_secret,
};

static TURN: Mutex<()> = Mutex::new(());

fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Fixture {
    context: Context,
    encoder: Encoder,
    evaluator: Evaluator,
    bootstrapper: Bootstrapper,
    input: Ciphertext,
}

impl Fixture {
    fn new(preset: &str) -> Self {
        let context = Context::new(Parameters::preset(preset, Security::AllowInsecure).unwrap()).unwrap();
        let generator = KeyGenerator::new(&context, Seed::insecure(70));
        let secret = generator.secret_key();
        let bootstrapper = Bootstrapper::new(&context).unwrap();
        let mut keys = EvaluationKeys::new();
        let top = context.parameters().max_level();
        keys.insert(generator.relinearisation_key(&secret, top).unwrap());
        keys.insert(generator.galois_key(&secret, context.conjugation_element(), top).unwrap());
        for steps in 1..8 {
            keys.insert(generator.galois_key(&secret, context.galois_element(steps), top).unwrap());
        }
        bootstrapper.generate_keys(&generator, &secret, &mut keys).unwrap();
        let encoder = Encoder::new(&context);
        // Scales start anew above the output level.
        let level = context.parameters().bootstrap().unwrap().output_level;
        let values = slots(context.parameters().slots());
        let plain = encoder.encode(&values, level, context.parameters().canonical_scale(level)).unwrap();
        let input = encrypt_secret(&context, &secret, &plain, &Seed::insecure(71), 0).unwrap();
        Self { evaluator: Evaluator::new(&context, &keys), encoder, bootstrapper, input, context }
    }

    /// Every kind of operation.
    fn work(&self) -> Vec<Ciphertext> {
        let (ev, x) = (&self.evaluator, &self.input);
        let plain = self.encoder.encode(&slots(self.context.parameters().slots()), x.level(), x.scale()).unwrap();
        let mut results = ev.rotate_hoisted(x, &[1, 0, 3]).unwrap();
        results.push(ev.conjugate(x).unwrap());
        results.push(ev.rescale(&ev.mul_plain(x, &plain).unwrap()).unwrap());
        results.push(ev.sub(&ev.add(x, &results[0]).unwrap(), &results[2]).unwrap());
        results.push(ev.to_level(&ev.mul_rescale(x, x).unwrap(), 1).unwrap());
        let plan = Plan::new(&Polynomial::chebyshev(vec![0.1, 0.2, 0.3, 0.4, 0.1]).unwrap());
        results.push(evaluate_plan(ev, x, &plan).unwrap());
        results.push(self.map().apply(ev, &self.encoder, x).unwrap());
        let prepared = self.map().prepare(&self.encoder, x.scale()).unwrap();
        results.push(prepared.apply(ev, x, None).unwrap());
        results.push(self.bootstrapper.bootstrap(ev, x).unwrap());
        results
    }

    fn map(&self) -> LinearMap {
        let n = self.context.parameters().slots();
        let diagonals: BTreeMap<i64, Vec<Complex64>> = (0..8).map(|shift| (shift, slots(n))).collect();
        LinearMap::from_diagonals(n, &diagonals).unwrap()
    }
}

fn slots(count: usize) -> Vec<Complex64> {
    (0..count).map(|i| Complex64::new((i as f64).sin() / 8.0, (i as f64).cos() / 8.0)).collect()
}

fn recorded<T>(work: impl FnOnce() -> T) -> (T, Snapshot) {
    let _recording = Recording::start();
    let before = snapshot();
    let result = work();
    (result, snapshot().since(&before))
}

/// Everything but times.
fn counts(snapshot: &Snapshot) -> Vec<(u64, u64, u64, Vec<u64>)> {
    let mut counts = Vec::new();
    for bootstrap in [false, true] {
        for operation in Operation::ALL {
            for stage in Stage::ALL {
                let work = snapshot.work(bootstrap, operation, stage);
                let calls = snapshot.calls(bootstrap, operation).to_vec();
                counts.push((work.residues, work.key_bytes, work.plaintext_bytes, calls));
            }
        }
    }
    counts
}

#[test]
fn results_are_the_same_and_counts_do_not_depend_on_threads() {
    let _turn = turn();
    let fixture = Fixture::new("toy-n8-boot");
    let before = snapshot();
    let silent = fixture.work();
    assert_eq!(snapshot(), before, "nothing is counted without a recording");
    let with_threads = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        recorded(|| pool.install(|| fixture.work()))
    };
    let (one, counts_of_one) = with_threads(1);
    assert!(one == silent, "recording changed a result");
    assert_eq!(counts_of_one.bootstraps().iter().sum::<u64>(), 1);
    for threads in [2, 5] {
        let (several, counts_of_several) = with_threads(threads);
        assert!(several == silent, "recording changed a result on {threads} threads");
        // Equal by operation and stage: work that went to another thread was booked where it was started.
        assert_eq!(counts(&counts_of_several), counts(&counts_of_one), "{threads} threads");
    }
}

#[test]
fn a_relinearisation_counts_its_limbs() {
    let _turn = turn();
    let fixture = Fixture::new("toy-n8-boot");
    let (ev, x) = (&fixture.evaluator, &fixture.input);
    let (_, counted) = recorded(|| ev.relinearise(&ev.mul_lazy(x, x).unwrap()).unwrap());
    let parameters = fixture.context.parameters();
    let (limbs, special) = (x.level() + 1, parameters.special().len());
    let digits = parameters.digits(x.level());
    let residues = |limbs: usize| (limbs * parameters.n()) as u64;
    let work = |stage| counted.work(false, Operation::Relinearise, stage);
    // Every digit is lifted to all primes but its own; ModDown takes the special limbs of two polynomials off.
    let lifted = digits * (limbs + special) - limbs;
    assert_eq!(work(Stage::Decompose).residues, residues(limbs));
    assert_eq!(work(Stage::InverseTransform).residues, residues(limbs + 2 * special));
    assert_eq!(work(Stage::ForwardTransform).residues, residues(lifted + 2 * limbs));
    assert_eq!(work(Stage::BaseConversion).residues, residues(lifted + 2 * limbs));
    assert_eq!(work(Stage::InnerProduct).residues, residues(digits * (limbs + special)));
    // Keys are packed in as many bytes as a prime has.
    let primes = parameters.chain()[..limbs].iter().chain(parameters.special());
    let bytes: u64 = primes.map(|p| u64::from((u64::BITS - p.leading_zeros()).div_ceil(8))).sum();
    assert_eq!(work(Stage::InnerProduct).key_bytes, 2 * bytes * residues(digits));
    assert_eq!(work(Stage::ModDown).residues, residues(2 * limbs));
    let mut once = vec![0; x.level() + 1];
    once[x.level()] = 1;
    assert_eq!(counted.calls(false, Operation::Relinearise), once);
    assert_eq!(counted.calls(false, Operation::Multiply), once);
    assert_eq!(counted.key_switches(), 1);
    assert_eq!(counted.total().key_bytes, work(Stage::InnerProduct).key_bytes);
}

#[test]
fn maps_count_rotations_encodings_and_plaintexts() {
    let _turn = turn();
    let fixture = Fixture::new("toy-n8-boot");
    let (ev, x, map) = (&fixture.evaluator, &fixture.input, fixture.map());
    let rotations = map.baby_steps().iter().chain(map.giant_steps()).filter(|step| **step != 0).count() as u64;
    let prepared = map.prepare(&fixture.encoder, x.scale()).unwrap();
    let (_, single) = recorded(|| map.apply(ev, &fixture.encoder, x).unwrap());
    let (_, double) = recorded(|| prepared.apply(ev, x, None).unwrap());
    let parameters = fixture.context.parameters();
    let limb = 8 * parameters.n() as u64;
    for (counted, limbs) in [(single, x.level() + 1), (double, x.level() + 1 + parameters.special().len())] {
        let calls = |operation| counted.calls(false, operation).iter().sum::<u64>();
        assert_eq!((calls(Operation::Rotate), counted.key_switches()), (rotations, rotations));
        assert_eq!((calls(Operation::Encode), calls(Operation::MultiplyPlain)), (8, 8));
        assert_eq!(calls(Operation::Rescale), 1);
        assert_eq!(counted.total().plaintext_bytes, 8 * limbs as u64 * limb);
    }
}

#[test]
fn times_add_up_to_no_more_than_was_spent() {
    let _turn = turn();
    let fixture = Fixture::new("toy-n8-boot");
    let before = process_time();
    let (_, counted) = recorded(|| fixture.work());
    let spent = process_time() - before;
    let booked = counted.total().time;
    assert!(!booked.is_zero() && booked <= spent, "{booked:?} of {spent:?}");
    let inside = |bootstrap| -> std::time::Duration {
        let operations = Operation::ALL.into_iter();
        operations.flat_map(|o| Stage::ALL.map(|stage| counted.work(bootstrap, o, stage).time)).sum()
    };
    assert_eq!(inside(false) + inside(true), booked);
    assert!(!inside(false).is_zero() && !inside(true).is_zero());
}
