//! The shipped artifact proves itself again, and export reproduces its parts.

use std::path::{Path, PathBuf};
use touchstone_reference::approx::{certify, replacement};
use touchstone_reference::export::{Prompts, calibrate, compare, interval};
use touchstone_reference::model::{load, load_polynomials, load_tokenizer};
use touchstone_reference::rungs::{Replaced, site_function};
use touchstone_spec::artifact::{Function, Refinement};
use touchstone_spec::hexfloat::HexFloat;

fn fairy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/fairy-1l")
}

/// Each stored error is what the proof gives for the stored coefficients, and each fit is reproduced bit for bit.
#[test]
fn stored_certificates_hold_and_fits_are_reproducible() {
    let model = load(&fairy()).unwrap();
    for site in load_polynomials(&fairy(), &model.config).unwrap().sites {
        let [interval, observed] = [site.interval, site.observed].map(|ends| ends.map(|x| x.0));
        let coefficients: Vec<f64> = site.coefficients.iter().map(|c| c.0).collect();
        let proof = certify(&site.function, interval, &coefficients, site.refinement).unwrap();
        assert_eq!(proof.sup_error, site.sup_error.0, "{}", site.site);
        assert!(interval[0] <= observed[0] && observed[1] <= interval[1], "{}", site.site);
        assert_eq!(site.function, site_function(&model.config, &site.site));
        assert_eq!(site.refinement, Refinement::None);
        let again = replacement(&site.site, site.function, observed, interval, coefficients.len() - 1).unwrap();
        assert_eq!(again, site);
    }
}

/// A text of two stories: windows and short prompts alternate, stories are not joined, and what calibration sees on it
/// lies inside the shipped intervals, so that the polynomial model has a value on every prompt.
#[test]
fn calibration_sees_windows_and_short_prompts() {
    let model = load(&fairy()).unwrap();
    let tokenizer = load_tokenizer(&fairy()).unwrap();
    let story = "Once upon a time there was a king who had three sons, and he loved them all. ".repeat(12);
    let text = format!("{story}<|endoftext|>{story}");
    let prompts = Prompts::draw(&tokenizer, &text, 64, 4).unwrap();
    assert_eq!(prompts.lengths, [1, 64, 2, 64, 3, 64, 4, 64]);
    assert!(prompts.windows[0].iter().all(|token| token == &prompts.windows[1][0]));
    assert_eq!(prompts.windows[1], prompts.windows[5], "the second story starts like the first");
    let ranges = calibrate(&model, &prompts).unwrap();
    let polynomials = load_polynomials(&fairy(), &model.config).unwrap();
    assert_eq!(ranges.len(), polynomials.sites.len());
    for site in &polynomials.sites {
        let [low, high] = ranges[&site.site];
        assert!(low < high && site.interval[0].0 <= low && high <= site.interval[1].0, "{}", site.site);
    }
    let replaced = Replaced::new(&model.config, &polynomials).unwrap();
    let agreement = compare(&model, &prompts, &replaced).unwrap();
    assert_eq!((agreement.prompts, agreement.same_token, agreement.escapes), (8, 8, 0));
    assert!(agreement.max_difference > 0.0 && agreement.max_difference <= 0.02, "{agreement:?}");
    assert!(Prompts::draw(&tokenizer, "too short", 64, 4).is_err());
}

/// Margins widen away from the observed range; denominators reach down to 0 and GELU is symmetric.
#[test]
fn margins_widen_ranges() {
    let shift = HexFloat(0.01);
    assert_eq!(interval(&Function::InverseSqrt { shift }, [1.0, 4.0], 2.0), [0.5, 8.0]);
    assert_eq!(interval(&Function::Reciprocal { shift }, [0.25, 4.0], 2.0), [0.0, 8.0]);
    assert_eq!(interval(&Function::Gelu, [-3.0, 2.0], 1.5), [-4.5, 4.5]);
}
