//! The circuit on ciphertexts: a thin layer over `touchstone-ckks` that times every operation.

use super::{Backend, Diagonals, Packing, Refresh, no_products, require_terms};
use crate::error::{LlmError, Result};
use crate::profile::{Meter, Operation, Profile, Profiler};
use num_complex::Complex64;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use touchstone_ckks::circuits::bootstrap::Bootstrapper;
use touchstone_ckks::circuits::{linear, polynomial};
use touchstone_ckks::{Ciphertext, CkksError, Encoder, Evaluator};

/// Called with the name of each part of the circuit as it begins.
pub type Progress<'a> = dyn Fn(&'static str) + Sync + 'a;

/// The backend that computes under encryption. It holds evaluation keys only.
pub struct Encrypted<'a> {
    evaluator: &'a Evaluator,
    bootstrapper: Option<&'a Bootstrapper>,
    encoder: Encoder,
    progress: &'a Progress<'a>,
    profile: Mutex<Profiler>,
}

impl<'a> Encrypted<'a> {
    /// A backend over an evaluator and its keys; the bootstrapper is needed by plans that bootstrap.
    #[must_use]
    pub fn new(evaluator: &'a Evaluator, bootstrapper: Option<&'a Bootstrapper>, progress: &'a Progress<'a>) -> Self {
        let encoder = Encoder::new(evaluator.context());
        Self { evaluator, bootstrapper, encoder, progress, profile: Mutex::new(Profiler::default()) }
    }

    /// Times and counts so far.
    #[must_use]
    pub fn profile(&self) -> Profile {
        self.lock().profile(self.evaluator.context().parameters())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Profiler> {
        // A poisoned profile is still a profile: the panic is reported where it happened.
        self.profile.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Rotations among the given ones that are not the identity.
    fn switches(&self, steps: &[i64]) -> usize {
        steps.iter().filter(|step| step.rem_euclid(self.slots() as i64) != 0).count()
    }

    /// Runs one operation and books its time and its key switches and encodings.
    fn timed<T>(
        &self,
        operation: Operation,
        key_switches: usize,
        encodings: usize,
        work: impl FnOnce() -> std::result::Result<T, CkksError>,
    ) -> Result<T> {
        let start = Meter::start();
        let result = work()?;
        self.lock().record(operation, &start, key_switches, encodings);
        Ok(result)
    }
}

impl Backend for Encrypted<'_> {
    type Ct = Ciphertext;
    type Sum = Ciphertext;

    fn slots(&self) -> usize {
        self.evaluator.context().parameters().slots()
    }

    fn level(&self, ct: &Ciphertext) -> usize {
        ct.level()
    }

    fn stage(&self, name: &'static str) {
        self.lock().enter(name);
        (self.progress)(name);
    }

    fn layer(&self, layer: Option<usize>) {
        self.lock().layer(layer);
    }

    fn add(&self, a: &Ciphertext, b: &Ciphertext) -> Result<Ciphertext> {
        self.timed(Operation::Add, 0, 0, || self.evaluator.add(a, b))
    }

    fn sub(&self, a: &Ciphertext, b: &Ciphertext) -> Result<Ciphertext> {
        self.timed(Operation::Add, 0, 0, || self.evaluator.sub(a, b))
    }

    fn add_const(&self, a: &Ciphertext, c: f64) -> Result<Ciphertext> {
        self.timed(Operation::Add, 0, 0, || self.evaluator.add_const(a, Complex64::new(c, 0.0)))
    }

    fn add_plain(&self, a: &Ciphertext, values: &[Complex64]) -> Result<Ciphertext> {
        self.timed(Operation::Add, 0, 1, || {
            let plain = self.encoder.encode(values, a.level(), a.scale())?;
            self.evaluator.add_plain(a, &plain)
        })
    }

    fn mul_plain(&self, a: &Ciphertext, values: &[Complex64]) -> Result<Ciphertext> {
        self.timed(Operation::PlaintextProduct, 0, 1, || {
            let plain = self.encoder.encode(values, a.level(), a.scale())?;
            self.evaluator.rescale(&self.evaluator.mul_plain(a, &plain)?)
        })
    }

    fn scale_to(&self, a: &Ciphertext, c: f64, level: usize) -> Result<Ciphertext> {
        self.timed(Operation::Rescale, 0, 0, || self.evaluator.mul_const_to_level(a, Complex64::new(c, 0.0), level))
    }

    fn weighted_sum(&self, terms: &[(&Ciphertext, f64)], level: usize) -> Result<Ciphertext> {
        require_terms("ciphertexts", terms.iter().map(|term| term.0.level()), level)?;
        let scale = self.evaluator.context().parameters().canonical_scale(level + 1);
        self.timed(Operation::LinearMap, 0, 0, || {
            self.evaluator.rescale(&self.evaluator.weighted_sum(terms, level + 1, scale * scale)?)
        })
    }

    fn mul_i(&self, a: &Ciphertext) -> Result<Ciphertext> {
        self.timed(Operation::Add, 0, 0, || self.evaluator.mul_i(a))
    }

    fn accumulate(&self, sum: &mut Option<Ciphertext>, a: &Ciphertext, b: &Ciphertext) -> Result<()> {
        self.timed(Operation::CiphertextProduct, 0, 0, || {
            let product = self.evaluator.mul_lazy(a, b)?;
            match sum {
                Some(sum) => self.evaluator.add_assign(sum, &product),
                None => {
                    *sum = Some(product);
                    Ok(())
                }
            }
        })
    }

    fn relinearise(&self, sum: Option<Ciphertext>) -> Result<Ciphertext> {
        let sum = sum.ok_or_else(no_products)?;
        self.timed(Operation::Relinearisation, 1, 0, || self.evaluator.relinearise_rescale(&sum))
    }

    fn bootstrap(&self, a: &Ciphertext, refresh: Refresh) -> Result<Ciphertext> {
        let bootstrapper = self.bootstrapper.ok_or_else(|| LlmError::Operand {
            operation: "bootstrapping".to_owned(),
            expected: "a bootstrapper".to_owned(),
            got: "none".to_owned(),
        })?;
        self.timed(Operation::Bootstrap, 0, 0, || match refresh.packing {
            Packing::Complex => bootstrapper.bootstrap(self.evaluator, a),
            Packing::Real => bootstrapper.bootstrap_real(self.evaluator, a),
            Packing::Periodic(period) => bootstrapper.bootstrap_sparse_real(self.evaluator, a, period),
        })
    }

    fn rotate(&self, a: &Ciphertext, steps: i64) -> Result<Ciphertext> {
        self.timed(Operation::Rotation, self.switches(&[steps]), 0, || self.evaluator.rotate(a, steps))
    }

    fn rotate_many(&self, a: &Ciphertext, steps: &[i64]) -> Result<Vec<Ciphertext>> {
        self.timed(Operation::HoistedRotations, self.switches(steps), 0, || self.evaluator.rotate_hoisted(a, steps))
    }

    fn conjugate(&self, a: &Ciphertext) -> Result<Ciphertext> {
        self.timed(Operation::Conjugation, 1, 0, || self.evaluator.conjugate(a))
    }

    fn linear(&self, babies: &[Ciphertext], giants: &[i64], diagonals: &Diagonals<'_>) -> Result<Ciphertext> {
        let encoded = AtomicUsize::new(0);
        let counted = |giant, baby| {
            let diagonal = diagonals(giant, baby)?;
            encoded.fetch_add(1, Ordering::Relaxed);
            Some(diagonal)
        };
        let start = Meter::start();
        let result = linear::apply_diagonals(self.evaluator, &self.encoder, babies, giants, counted)?;
        self.lock().record(Operation::LinearMap, &start, self.switches(giants), encoded.into_inner());
        Ok(result)
    }

    fn chebyshev(&self, a: &Ciphertext, coefficients: &[f64]) -> Result<Ciphertext> {
        let plan = polynomial::Plan::new(&polynomial::Polynomial::chebyshev(coefficients.to_vec())?);
        self.timed(Operation::Polynomial, plan.key_switches(), 0, || {
            polynomial::evaluate_plan(self.evaluator, a, &plan)
        })
    }
}
