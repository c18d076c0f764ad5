//! `reference model` as a program, on an encoder that `reference synth` has drawn.

use std::path::Path;
use std::process::{Command, Output};
use touchstone_reference::interval::Interval;
use touchstone_reference::model::{EncoderInput, encoder_forward, load_encoder, load_encoder_polynomials};
use touchstone_reference::rungs::{Exact, Replaced, Rung};

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_reference")).args(arguments).output().unwrap()
}

/// What the program prints is what the graph of the library gives, padding included, largest class first.
#[test]
fn an_encoder_is_evaluated_at_both_rungs() {
    let directory = std::env::temp_dir().join(format!("touchstone-model-{}", std::process::id()));
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/configs/small-encoder.json");
    let (path, config) = (directory.to_str().unwrap(), config.to_str().unwrap());
    let sizes = ["--layers", "1", "--tokens", "8", "--vocab", "50", "--prompts", "4"];
    let drawn = run(&[&["synth", "--config", config, "--seed", "3", "--out", path], &sizes[..]].concat());
    assert!(drawn.status.success(), "{}", String::from_utf8_lossy(&drawn.stderr));
    let model = load_encoder(&directory).unwrap();
    let replaced = Replaced::for_encoder(&model.config, &load_encoder_polynomials(&directory, &model.config).unwrap());
    let replaced = replaced.unwrap();
    let rungs: [(&str, &dyn Rung<Interval>); 2] = [("r0", &Exact), ("r1", &replaced)];
    for (name, rung) in rungs {
        for (pad, tokens) in [(false, vec![7, 9, 11]), (true, vec![7, 9, 11, 7, 9, 11, 7, 9])] {
            let mask: Vec<bool> = (0..tokens.len()).map(|i| i < 3).collect();
            let input = EncoderInput { tokens: &tokens, types: &vec![0; tokens.len()], mask: &mask };
            let values = encoder_forward(&model, &input, rung, 128, &mut ()).unwrap();
            let mut order: Vec<usize> = (0..values.len()).collect();
            order.sort_by(|&i, &j| values[j].mid().total_cmp(&values[i].mid()));
            let expected: String = order.iter().map(|&i| format!("{i:6}  {:<14} {:.20}\n", "", values[i])).collect();
            let flags: &[&str] = if pad { &["--pad"] } else { &[] };
            let printed = run(&[&["model", "--model", path, "--tokens", "7,9,11", "--rung", name], flags].concat());
            assert_eq!(String::from_utf8_lossy(&printed.stdout), expected, "{name}, padded {pad}");
        }
    }
    let long = run(&["model", "--model", path, "--tokens", "1,2,3,4,5,6,7,8,9"]);
    assert!(String::from_utf8_lossy(&long.stderr).contains("at most 8 tokens, got 9"));
    std::fs::remove_dir_all(&directory).unwrap();
}
