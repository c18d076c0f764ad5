//! Writes seeds of the fuzz corpora with the project's own writers, at toy parameters, from the root of the repository:
//! `cargo run -p touchstone-conformance --example fuzz-seeds -- fuzz/corpus`.

#[path = "../../fuzz/src/models.rs"]
mod models;

use safetensors::tensor::{Dtype, TensorView};
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use touchstone_ckks::ckks::serialise::{
    write_ciphertexts, write_evaluation_keys, write_fresh_ciphertexts, write_public_key, write_secret_key,
};
use touchstone_ckks::ckks::{encrypt_secret, encryption_stream_keys};
use touchstone_ckks::{
    Ciphertext, Complex64, Context, Encoder, EvaluationKeys, Evaluator, KeyGenerator, Parameters, Security, Seed,
};
use touchstone_llm::circuit::{LayerCache, State};
use touchstone_spec::artifact::{Polynomials, Stream};
use touchstone_spec::hexfloat::HexFloat;
use touchstone_spec::protocol::{
    Answer, Closed, Failure, Fetched, Form, Greeting, Open, Opened, PROTOCOL, Ran, Request, Run, Skip, Stored,
};
use touchstone_spec::vector::Value;

type Done = Result<(), Box<dyn Error>>;

/// Where seeds go: one directory per target.
struct Corpus(PathBuf);

impl Corpus {
    fn add(&self, target: &str, name: &str, bytes: &[u8]) -> Done {
        let directory = self.0.join(target);
        fs::create_dir_all(&directory)?;
        Ok(fs::write(directory.join(name), bytes)?)
    }

    /// Copies the files of a directory whose names end in `suffix` and that have at most `limit` bytes.
    fn copy(&self, target: &str, from: &str, suffix: &str, limit: u64) -> Done {
        for entry in fs::read_dir(from)? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if name.ends_with(suffix) && fs::metadata(&path)?.len() <= limit {
                self.add(target, &name, &fs::read(&path)?)?;
            }
        }
        Ok(())
    }
}

fn main() -> Done {
    let directory = std::env::args().nth(1).ok_or("usage: fuzz-seeds DIRECTORY")?;
    let corpus = Corpus(Path::new(&directory).to_owned());
    for preset in ["toy-n5", "toy-n5-boot"] {
        objects(&corpus, preset)?;
    }
    documents(&corpus)?;
    messages(&corpus)?;
    for text in ["0x0p+0", "-0x0p+0", "0x1p+0", "-0x1.8p-3", "0x0.0000000000001p-1022", "0x1.fffffffffffffp+1023"] {
        corpus.add("hexfloat", text, text.as_bytes())?;
    }
    weights(&corpus)
}

/// Keys and ciphertexts.
fn objects(corpus: &Corpus, preset: &str) -> Done {
    let context = Context::new(Parameters::preset(preset, Security::AllowInsecure)?)?;
    let seed = || Seed::insecure(3);
    let generator = KeyGenerator::new(&context, seed());
    let secret = generator.secret_key();
    let put = |target: &str, name: &str, bytes: Vec<u8>| corpus.add(target, &format!("{preset}-{name}"), &bytes);

    let mut bytes = Vec::new();
    write_secret_key(&mut bytes, &context, &secret)?;
    put("secret_key", "drawn", bytes)?;
    let mut bytes = Vec::new();
    write_public_key(&mut bytes, &context, &generator.public_key(&secret)?)?;
    put("public_key", "drawn", bytes)?;

    let mut keys = EvaluationKeys::new();
    keys.insert(generator.relinearisation_key(&secret, 1)?);
    keys.insert(generator.rotation_key(&secret, 1, 0)?);
    if context.parameters().bootstrap().is_some() {
        let (to, from) = generator.ephemeral_keys(&secret)?;
        keys.insert(to);
        keys.insert(from);
    }
    let mut bytes = Vec::new();
    write_evaluation_keys(&mut bytes, &context, &keys)?;
    put("evaluation_keys", "drawn", bytes)?;

    let slots = vec![Complex64::new(0.5, -0.25); context.parameters().slots()];
    let plain = Encoder::new(&context).encode(&slots, 1, context.parameters().canonical_scale(1))?;
    let fresh = encrypt_secret(&context, &secret, &plain, &seed(), 0)?;
    let product = Evaluator::new(&context, &keys).mul_lazy(&fresh, &fresh)?;
    let mut bytes = Vec::new();
    write_ciphertexts(&mut bytes, &context, &[fresh.clone(), product])?;
    put("ciphertexts", "product", bytes)?;
    checkpoint(corpus, preset, &context, &fresh)?;
    let mut bytes = Vec::new();
    write_fresh_ciphertexts(&mut bytes, &context, &[(fresh, encryption_stream_keys(&context, &seed(), 0, 1))])?;
    put("ciphertexts", "fresh", bytes)
}

/// A checkpoint with a cache, without its hash.
fn checkpoint(corpus: &Corpus, preset: &str, context: &Context, ciphertext: &Ciphertext) -> Done {
    let layer = LayerCache { keys: vec![ciphertext.clone()], values: vec![ciphertext.clone()] };
    let state = State { next: 1, stream: vec![ciphertext.clone()], kept: vec![layer] };
    let mut bytes = Vec::new();
    models::checkpoints(context).write(&mut bytes, &state)?;
    bytes.truncate(bytes.len() - 32);
    corpus.add("checkpoint", preset, &bytes)
}

/// Files of the repository.
fn documents(corpus: &Corpus) -> Done {
    corpus.copy("parameters", "spec/params", ".json", 8 << 10)?;
    for directory in ["arithmetic", "scheme", "circuit"] {
        corpus.copy("vectors", &format!("conformance/vectors/{directory}"), ".json", 8 << 10)?;
    }
    let text = fs::read_to_string("models/fairy-1l/polynomials.json")?;
    let mut polynomials = Polynomials::from_json(&text, &models::decoder(true))?;
    corpus.add("polynomials", "fairy-1l", text.as_bytes())?;
    let (observed, limit) = (HexFloat(1.5), HexFloat(2.0));
    polynomials.streams = vec![Stream { tap: "layers.0.residual".to_owned(), observed, limit }];
    corpus.add("polynomials", "streams", serde_json::to_string(&polynomials)?.as_bytes())?;
    corpus.copy("decoder_config", "models/fairy-1l", "config.json", 8 << 10)?;
    for tied in [false, true] {
        let text = serde_json::to_string(&models::decoder(tied))?;
        corpus.add("decoder_config", &format!("tied-{tied}"), text.as_bytes())?;
    }
    let mut encoder = models::encoder();
    corpus.add("encoder_config", "bert", serde_json::to_string(&encoder)?.as_bytes())?;
    encoder.model_type = touchstone_spec::artifact::EncoderKind::Roberta;
    encoder.pooling = touchstone_spec::artifact::Pooling::Mean;
    corpus.add("encoder_config", "roberta", serde_json::to_string(&encoder)?.as_bytes())
}

/// One message of every kind.
fn messages(corpus: &Corpus) -> Done {
    let parameters = touchstone_spec::params::ParameterLiteral::preset("toy-n5")?;
    let (session, handle) = ("s0".to_owned(), "h0".to_owned());
    let value = Value::reals(&[0.5, -1.0]);
    let inputs = [("a".to_owned(), touchstone_spec::protocol::handle("h0")), ("steps".to_owned(), Value::integer(1))];
    let requests = [
        Request::Hello { protocol: PROTOCOL.to_owned() },
        Request::Open(Box::new(Open {
            preset: "toy-n5".to_owned(),
            parameters,
            seed: Some("00".repeat(16)),
            rotations: vec!["1".to_owned()],
            conjugation: true,
        })),
        Request::Put { session: session.clone(), value: value.clone() },
        Request::Get { session: session.clone(), handle: handle.clone(), form: Form::Slots },
        Request::Drop { session: session.clone(), handle: handle.clone() },
        Request::Run(Run {
            session: session.clone(),
            case: "scheme/rotate".to_owned(),
            op: "rotate".to_owned(),
            inputs: inputs.into(),
            taps: vec!["key-switched".to_owned()],
        }),
        Request::Close { session: session.clone() },
    ];
    for (index, request) in requests.iter().enumerate() {
        corpus.add("protocol", &format!("request-{index}"), serde_json::to_string(request)?.as_bytes())?;
    }
    let (level, scale) = ("3".to_owned(), HexFloat(1024.0).to_string());
    let outputs = [("result".to_owned(), touchstone_spec::protocol::handle("h1"))];
    let greeting = Greeting {
        protocol: PROTOCOL.to_owned(),
        name: "engine".to_owned(),
        version: "1".to_owned(),
        language: "Rust".to_owned(),
        features: vec!["taps".to_owned()],
    };
    let (chain, special) = (vec!["97".to_owned()], vec!["193".to_owned()]);
    let opened = Opened { session, chain, special, scale: scale.clone(), key_bytes: "1".to_owned() };
    let failure = Failure { kind: "level".to_owned(), message: "no level left".to_owned() };
    let skip = Skip { reason: "no bootstrapping".to_owned(), issue: "by design".to_owned() };
    let answers = [
        serde_json::to_string(&Answer::Ok(greeting))?,
        serde_json::to_string(&Answer::Ok(opened))?,
        serde_json::to_string(&Answer::Ok(Stored { handle, level: level.clone(), scale: scale.clone() }))?,
        serde_json::to_string(&Answer::Ok(Fetched { value, level, scale }))?,
        serde_json::to_string(&Answer::Ok(Ran { outputs: outputs.into(), seconds: 0.5, ..Ran::default() }))?,
        serde_json::to_string(&Answer::Ok(Closed { operations: "1".to_owned(), seconds: 0.5 }))?,
        serde_json::to_string(&Answer::<Closed>::Skipped(skip))?,
        serde_json::to_string(&Answer::<Closed>::Error(failure))?,
    ];
    for (index, answer) in answers.iter().enumerate() {
        corpus.add("protocol", &format!("answer-{index}"), answer.as_bytes())?;
    }
    Ok(())
}

/// Weights of the smallest models.
fn weights(corpus: &Corpus) -> Done {
    let block = |prefix: &str, parts: &[(&str, usize, usize)]| {
        let affine = |&(name, rows, columns): &(&str, usize, usize)| {
            let weight = if columns == 0 { vec![rows] } else { vec![rows, columns] };
            [(format!("{prefix}{name}.weight"), weight), (format!("{prefix}{name}.bias"), vec![rows])]
        };
        parts.iter().flat_map(affine).collect::<Vec<_>>()
    };
    let mut decoder = block(
        "gpt_neox.layers.0.",
        &[
            ("input_layernorm", 2, 0),
            ("post_attention_layernorm", 2, 0),
            ("attention.query_key_value", 6, 2),
            ("attention.dense", 2, 2),
            ("mlp.dense_h_to_4h", 3, 2),
            ("mlp.dense_4h_to_h", 2, 3),
        ],
    );
    decoder.extend(block("gpt_neox.", &[("final_layer_norm", 2, 0)]));
    decoder.push(("gpt_neox.embed_in.weight".to_owned(), vec![4, 2]));
    decoder.push(("embed_out.weight".to_owned(), vec![4, 2]));
    let mut encoder = block(
        "bert.encoder.layer.0.",
        &[
            ("attention.self.query", 2, 2),
            ("attention.self.key", 2, 2),
            ("attention.self.value", 2, 2),
            ("attention.output.dense", 2, 2),
            ("attention.output.LayerNorm", 2, 0),
            ("intermediate.dense", 3, 2),
            ("output.dense", 2, 3),
            ("output.LayerNorm", 2, 0),
        ],
    );
    encoder.extend(block("bert.", &[("embeddings.LayerNorm", 2, 0), ("pooler.dense", 2, 2)]));
    encoder.extend(block("", &[("classifier", 2, 2)]));
    for (table, rows) in [("word", 4), ("position", 4), ("token_type", 1)] {
        encoder.push((format!("bert.embeddings.{table}_embeddings.weight"), vec![rows, 2]));
    }
    for (name, dtype, width) in [("f32", Dtype::F32, 4), ("f16", Dtype::F16, 2)] {
        for (target, shapes) in [("decoder_weights", &decoder), ("encoder_weights", &encoder)] {
            let zeros = vec![0; 64 * width];
            let view = |(name, shape): &(String, Vec<usize>)| {
                let bytes = shape.iter().product::<usize>() * width;
                TensorView::new(dtype, shape.clone(), &zeros[..bytes]).map(|view| (name.clone(), view))
            };
            let views = shapes.iter().map(view).collect::<Result<Vec<_>, _>>()?;
            corpus.add(target, name, &safetensors::serialize(views, None)?)?;
        }
    }
    Ok(())
}
