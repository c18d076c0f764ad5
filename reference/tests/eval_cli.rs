//! `reference eval` as a program: flags and JSON mean the same, output encloses, bad input exits with 1 and a message.

use serde_json::{Value, json};
use std::io::Write;
use std::process::{Command, Output, Stdio};

fn run(arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_reference"))
        .arg("eval")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // The program may refuse its flags and exit before it reads.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

fn answer(arguments: &[&str], input: &str) -> Value {
    let output = run(arguments, input);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Rules: `r[eval.output]`.
#[test]
fn flags_and_json_mean_the_same() {
    let pairs: [(&str, Value); 5] = [
        (
            "power-softmax --p 4 --eps 1e-3 --x 2,1,0,-1 --mask 1,1,0,1 --form eps",
            json!({"x": ["2", 1, 0.0, "-0x1p+0"], "mask": [1, true, false, "1"], "form": "sum"}),
        ),
        ("gelu --x -0.5,30", json!({"x": [-0.5, 30]})),
        (
            "goldschmidt --interval 0.01,10 --steps 8 --relaxed --x 3",
            json!({"x": [3], "interval": [0.01, 10], "steps": 8, "relaxed": true}),
        ),
        (
            "linear --x 1,2 --weight 1,2;3,-4 --bias -1,1",
            json!({"x": [1, 2], "weight": [[1, 2], [3, -4]], "bias": [-1, 1]}),
        ),
        (
            "attention --query 1,0;0,1 --key 1,0;0,1 --value 1;2 --causal",
            json!({"query": [[1, 0], [0, 1]], "key": [[1, 0], [0, 1]], "value": [[1], [2]], "causal": 1}),
        ),
    ];
    for (flags, inputs) in pairs {
        let words: Vec<&str> = flags.split(' ').collect();
        let by_flags = answer(&[&words[..], &["--json", "--precision", "200"]].concat(), "");
        let document = json!({ "op": words[0], "inputs": inputs }).to_string();
        let by_json = answer(&["--input", "-", "--json", "--precision", "200"], &document);
        assert_eq!(by_flags, by_json, "{flags}");
        let count: u64 = by_flags["shape"].as_array().unwrap().iter().map(|n| n.as_u64().unwrap()).product();
        assert_eq!(by_flags["mid"].as_array().unwrap().len() as u64, count);
    }
    // 3 x 3 with weights (1, 2; 3, -4): 1 + 4 - 1 and 3 - 8 + 1, exactly.
    let exact = answer(&["linear", "--x", "1,2", "--weight", "1,2;3,-4", "--bias", "-1,1", "--json"], "");
    assert_eq!(exact["rad"], "0");
    let mid: Vec<f64> = exact["mid"].as_array().unwrap().iter().map(|x| x.as_str().unwrap().parse().unwrap()).collect();
    assert_eq!(mid, [4.0, -4.0]);
}

#[test]
fn bad_input_is_an_error_with_a_message() {
    let cases: [(&[&str], &str, i32, &str); 8] = [
        (&["power-softmax", "--p", "3", "--x", "1"], "", 1, "even power"),
        (&["power-softmax", "--x", "1,nan"], "", 1, "inputs.x[1]"),
        (&["power-softmax", "--eps", "-1", "--x", "1"], "", 1, "eps > 0"),
        (&["layer-norm"], "", 2, "--x"),
        (&["gelu", "--x", "1", "--precision", "5"], "", 1, "24 to 4096"),
        (&[], "", 1, "one operation"),
        (&["--input", "-"], "{", 1, "expected JSON"),
        (&["--input", "-"], r#"{"op":"gelu","inputs":{"x":[null]}}"#, 1, "inputs.x[0]"),
    ];
    for (arguments, input, code, part) in cases {
        let output = run(arguments, input);
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {message}");
        assert!(message.contains(part) && !message.contains("panicked"), "{arguments:?}: {message:?} lacks {part:?}");
    }
}
