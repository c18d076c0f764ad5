//! What the binary says and returns when something is wrong: one message that names what, where, expected and got.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn touchstone(arguments: &[&dyn AsRef<OsStr>]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_touchstone"));
    for argument in arguments {
        command.arg(argument.as_ref());
    }
    command.output().unwrap()
}

fn shipped() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/fairy-1l")
}

/// Runs, asserts the exit code and that standard error has every piece.
fn refused(code: i32, pieces: &[&str], arguments: &[&dyn AsRef<OsStr>]) {
    let output = touchstone(arguments);
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{message}");
    for piece in pieces {
        assert!(message.contains(piece), "no {piece:?} in: {message}");
    }
    assert!(output.stdout.is_empty(), "{}", String::from_utf8_lossy(&output.stdout));
}

/// A copy of the shipped model in which one file is replaced.
fn damaged(file: &str, change: impl FnOnce(Vec<u8>) -> Vec<u8>) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for name in ["config.json", "polynomials.json", "model.safetensors", "tokenizer.json"] {
        std::fs::copy(shipped().join(name), copy.path().join(name)).unwrap();
    }
    let path = copy.path().join(file);
    let bytes = change(std::fs::read(&path).unwrap());
    std::fs::write(&path, bytes).unwrap();
    copy
}

fn replaced(bytes: Vec<u8>, from: &str, to: &str) -> Vec<u8> {
    let text = String::from_utf8(bytes).unwrap();
    assert!(text.contains(from), "{from}");
    text.replacen(from, to, 1).into_bytes()
}

#[test]
fn prompts() {
    refused(1, &["prompt", "1 to 64 tokens", "got 0 tokens"], &[&"run", &"--prompt", &""]);
    let long = "king ".repeat(100);
    refused(1, &["prompt", "1 to 64 tokens", "got 10"], &[&"run", &"--prompt", &long]);
    refused(1, &["--max-new-tokens", "got 1000"], &[&"run", &"--max-new-tokens", &"1000"]);
    refused(1, &["top-p", "at most 1", "got 1.5"], &[&"run", &"--top-p", &"1.5"]);
    refused(1, &["temperature", "above 0", "got 0"], &[&"run", &"--top-p", &"0.5", &"--temperature", &"0"]);
    refused(2, &["--top-p"], &[&"run", &"--temperature", &"0.5"]);
}

#[cfg(unix)]
#[test]
fn prompt_that_is_not_text() {
    use std::os::unix::ffi::OsStrExt;
    let bytes = OsStr::from_bytes(b"abc\xff");
    refused(1, &["prompt", "UTF-8"], &[&"run", &"--prompt", &bytes]);
}

#[test]
fn usage() {
    refused(2, &["--no-such-flag"], &[&"run", &"--no-such-flag"]);
    refused(2, &["--threads"], &[&"run", &"--threads", &"0"]);
    refused(2, &["--insecure-seed"], &[&"run", &"--insecure-seed", &"xyz"]);
    refused(2, &["--secret"], &[&"decrypt", &"--prompt", &"a", &"--in", &"b"]);
}

#[test]
fn parameters() {
    refused(1, &["n99", "n16-leveled"], &[&"run", &"--preset", &"n99"]);
    refused(1, &["small-n12", "--allow-toy", "insecure"], &[&"run", &"--preset", &"small-n12"]);
    refused(1, &["packing", "64 slots", "got 16"], &[&"run", &"--preset", &"toy-n5", &"--allow-toy"]);
    refused(1, &["out of levels"], &[&"run", &"--preset", &"small-n12", &"--allow-toy"]);
    refused(1, &["out of levels", "power-softmax reciprocal"], &[&"run", &"--preset", &"n15-leveled"]);
}

#[test]
fn model_files() {
    refused(1, &["/no/such/model", "config.json"], &[&"run", &"--model", &"/no/such/model"]);
    let run = |model: &tempfile::TempDir, pieces: &[&str]| {
        refused(1, pieces, &[&"run", &"--model", &model.path()]);
    };
    run(&damaged("model.safetensors", |bytes| bytes[..bytes.len() / 2].to_vec()), &["model.safetensors", "header"]);
    run(&damaged("model.safetensors", |_| Vec::new()), &["model.safetensors", "header"]);
    let swap = |bytes: Vec<u8>| replaced(bytes, "\"hidden_size\": 128", "\"hidden_size\": 64");
    run(&damaged("config.json", swap), &["model.safetensors", "[1024, 64]", "[1024, 128]"]);
    let rename = |bytes: Vec<u8>| {
        let at = bytes.windows(9).position(|window| window == b"embed_out").unwrap();
        let mut bytes = bytes;
        bytes[at..at + 9].copy_from_slice(b"embed_oux");
        bytes
    };
    run(&damaged("model.safetensors", rename), &["embed_out.weight", "no such tensor"]);
    let poison = |mut bytes: Vec<u8>| {
        let end = bytes.len();
        bytes[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
        bytes
    };
    run(&damaged("model.safetensors", poison), &["finite", "NaN"]);
    run(&damaged("polynomials.json", |bytes| bytes[..100].to_vec()), &["polynomials.json"]);
    let newton = |bytes: Vec<u8>| replaced(bytes, "layers.0.gelu", "layers.0.relu");
    run(&damaged("polynomials.json", newton), &["polynomials.json", "layers.0.relu"]);
    run(&damaged("tokenizer.json", |_| b"{}".to_vec()), &["tokenizer.json"]);
}

#[test]
fn files_of_the_protocol() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    std::fs::write(path("garbage"), b"not a ciphertext").unwrap();
    let garbage = path("garbage");
    let compute: [&dyn AsRef<OsStr>; 7] = [&"compute", &"--keys", &garbage, &"--in", &garbage, &"--out", &path("out")];
    refused(1, &["garbage", "magic"], &compute);
    let missing = path("missing");
    refused(1, &["missing"], &[&"compute", &"--keys", &garbage, &"--in", &missing, &"--out", &path("out")]);
    refused(1, &["garbage"], &[&"decrypt", &"--prompt", &"a", &"--secret", &garbage, &"--in", &garbage]);
}
