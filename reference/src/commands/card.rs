//! The tables of a model card.

use std::fmt::Write;
use std::path::Path;
use touchstone_reference::export::{Agreement, Prompts};
use touchstone_spec::artifact::{ErrorKind, Function, Polynomials, Site, Stream};

/// What replaces the functions, how large the stream is, and how far the logits are from the exact model's.
pub fn report(polynomials: &Polynomials, held_out: &[Prompts], agreements: &[Agreement]) -> String {
    format!("{}\n{}\n{}", table(polynomials), streams(polynomials), summary(held_out, agreements))
}

/// Last part of a path.
pub fn file_name(path: &Path) -> String {
    path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}

/// One row per set of held-out prompts.
fn summary(held_out: &[Prompts], agreements: &[Agreement]) -> String {
    let mut text = "Against the exact functions, binary64, logits of the last prompt position or of the classes; an \
                    escape is a prompt with an input outside its interval, or an entry of the stream beyond its limit, \
                    at any position:\n\n| held-out prompts | number | largest difference of a logit | same most likely \
                    token or class | escapes |\n|---|---|---|---|---|"
        .to_owned();
    for (set, agreement) in held_out.iter().zip(agreements) {
        let Agreement { prompts, max_difference, same_token, escapes } = agreement;
        text += &format!("\n| {} | {prompts} | {max_difference:.2e} | {same_token} | {escapes} |", set.description);
    }
    text
}

fn table(polynomials: &Polynomials) -> String {
    let mut text =
        String::from("| site | observed | certified on | degree | certified error |\n|---|---|---|---|---|\n");
    for site in &polynomials.sites {
        let [observed, interval] = [site.observed, site.interval].map(|ends| ends.map(|x| format!("{:.5}", x.0)));
        // Writing to a string does not fail.
        let _ = writeln!(
            text,
            "| {} ({}) | {} .. {} | {} .. {} | {} | {:.3e} {} |",
            site.site,
            formula(site),
            observed[0],
            observed[1],
            interval[0],
            interval[1],
            site.coefficients.len() - 1,
            site.sup_error.0,
            match site.error_kind {
                ErrorKind::Absolute => "absolute",
                ErrorKind::Relative => "relative",
            }
        );
    }
    text
}

/// One row per tap of the residual stream.
fn streams(polynomials: &Polynomials) -> String {
    let mut text = String::from("| residual stream | largest absolute value observed | limit |\n|---|---|---|\n");
    for Stream { tap, observed, limit } in &polynomials.streams {
        text += &format!("| {tap} | {:.5} | {:.5} |\n", observed.0, limit.0);
    }
    text
}

fn formula(site: &Site) -> String {
    match site.function {
        Function::InverseSqrt { shift } => format!("1 / sqrt(x + {:e})", shift.0),
        Function::Reciprocal { shift } => format!("1 / (x + {:e})", shift.0),
        Function::Gelu => "GELU".to_owned(),
        Function::Tanh => "tanh".to_owned(),
    }
}
