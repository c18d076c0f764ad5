//! Client and server as separate processes that exchange files. Only the client's commands touch `secret.key`.

use super::{Common, Steps, hexadecimal, seed, tokenise};
use anyhow::{Context as _, Result};
use clap::Args;
use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{BufReader, BufWriter};
use std::path::{Path, PathBuf};
use touchstone_ckks::ckks::serialise::{
    EvaluationKeyWriter, read_ciphertexts, read_evaluation_keys, read_public_key, read_secret_key, write_ciphertexts,
    write_public_key, write_secret_key,
};
use touchstone_ckks::{Ciphertext, Context, EvaluationKey, KeyGenerator};
use touchstone_llm::artifact::Model;
use touchstone_llm::checkpoint::{Checkpoints, Identity};
use touchstone_llm::circuit::Circuit;
use touchstone_llm::plan::Plan;
use touchstone_llm::sampling::argmax;
use touchstone_llm::session::{Server, encrypt, generate_keys, key_entries, read};
use touchstone_llm::tap::Blind;

/// Arguments of `touchstone keygen`.
#[derive(Debug, Args)]
pub struct Keygen {
    #[command(flatten)]
    common: Common,
    /// Directory for secret.key, public.key and evaluation.keys
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Draw keys from this seed instead of the operating system: no security, repeatable
    #[arg(long, value_name = "HEX", value_parser = hexadecimal)]
    insecure_seed: Option<u128>,
}

/// Arguments of `touchstone encrypt`.
#[derive(Debug, Args)]
pub struct Encrypt {
    #[command(flatten)]
    common: Common,
    /// Text to continue
    #[arg(long, value_name = "TEXT")]
    prompt: OsString,
    /// public.key of `touchstone keygen`
    #[arg(long, value_name = "FILE")]
    public: PathBuf,
    /// File for the encrypted prompt
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Draw noise from this seed instead of the operating system: no security, repeatable
    #[arg(long, value_name = "HEX", value_parser = hexadecimal)]
    insecure_seed: Option<u128>,
}

/// Arguments of `touchstone compute`.
#[derive(Debug, Args)]
pub struct Compute {
    #[command(flatten)]
    common: Common,
    /// evaluation.keys of `touchstone keygen`
    #[arg(long, value_name = "FILE")]
    keys: PathBuf,
    /// Encrypted prompt
    #[arg(long = "in", value_name = "FILE")]
    input: PathBuf,
    /// File for the encrypted logits
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Keep the encrypted stream here after each block, and go on from there if killed
    #[arg(long, value_name = "DIR")]
    checkpoint: Option<PathBuf>,
}

/// Arguments of `touchstone decrypt`.
#[derive(Debug, Args)]
pub struct Decrypt {
    #[command(flatten)]
    common: Common,
    /// The prompt that was encrypted: its length tells which position to read
    #[arg(long, value_name = "TEXT")]
    prompt: OsString,
    /// secret.key of `touchstone keygen`
    #[arg(long, value_name = "FILE")]
    secret: PathBuf,
    /// Encrypted logits
    #[arg(long = "in", value_name = "FILE")]
    input: PathBuf,
    /// Write the logits as a JSON array
    #[arg(long, value_name = "FILE")]
    logits: Option<PathBuf>,
}

impl Keygen {
    /// Runs the command.
    pub fn execute(self) -> Result<()> {
        let model = self.common.load()?;
        let parameters = self.common.parameters()?;
        let circuit = Circuit::new(&model, parameters.slots(), model.config.max_position_embeddings)?;
        let plan = circuit.requirements(&parameters)?.keys;
        let context = Context::new(parameters)?;
        std::fs::create_dir_all(&self.out).with_context(|| format!("{}", self.out.display()))?;
        let steps = Steps::new();
        steps.enter("generating keys");
        let generator = KeyGenerator::new(&context, seed(self.insecure_seed)?);
        let secret = generator.secret_key();
        let file = |name: &str| self.out.join(name);
        save_as(&file("secret.key"), &private(), |out| Ok(write_secret_key(out, &context, &secret)?))?;
        save(&file("public.key"), |out| Ok(write_public_key(out, &context, &generator.public_key(&secret)?)?))?;
        save(&file("evaluation.keys"), |out| {
            let mut writer = EvaluationKeyWriter::new(out, &context, &key_entries(&context, &plan))?;
            generate_keys(&context, &generator, &secret, &plan, |key| match &key {
                EvaluationKey::Switch(key) => writer.write(key),
                EvaluationKey::ToEphemeral(key) => writer.write_to_ephemeral(key),
            })?;
            Ok(writer.finish()?)
        })
    }
}

impl Encrypt {
    /// Runs the command.
    pub fn execute(self) -> Result<()> {
        let model = self.common.load()?;
        let tokens = tokenise(&self.common.tokenizer()?, &model, &self.prompt)?;
        let parameters = self.common.parameters()?;
        let circuit = Circuit::new(&model, parameters.slots(), tokens.len())?;
        let level = circuit.requirements(&parameters)?.plan.input_level();
        let context = Context::new(parameters)?;
        let public = open(&self.public, |file| Ok(read_public_key(file, &context)?))?;
        let input = encrypt(&context, &public, &circuit.input(&tokens)?, level, &seed(self.insecure_seed)?)?;
        save(&self.out, |out| Ok(write_ciphertexts(out, &context, &input)?))
    }
}

impl Compute {
    /// Runs the command.
    pub fn execute(self) -> Result<()> {
        let model = self.common.load()?;
        let parameters = self.common.parameters()?;
        let circuit = Circuit::new(&model, parameters.slots(), model.config.max_position_embeddings)?;
        let context = Context::new(parameters)?;
        let input = open(&self.input, |file| Ok(read_ciphertexts(file, &context)?))?;
        let keys = open(&self.keys, |file| Ok(read_evaluation_keys(file, &context)?))?;
        let plan = circuit.requirements(context.parameters())?.plan;
        let server = Server::new(&context, &keys)?;
        let steps = Steps::new();
        let progress = |step: &'static str| steps.enter(step);
        let checkpoints = self.checkpoints(&context, &model, &plan, &input)?;
        let (logits, _) = match &checkpoints {
            Some(checkpoints) => checkpoints.compute(&server, &circuit, &plan, &input, &progress),
            None => server.compute(&circuit, &plan, &input, &mut Blind, &progress),
        }
        .with_context(|| format!("{}", self.input.display()))?;
        save(&self.out, |out| Ok(write_ciphertexts(out, &context, &logits)?))?;
        if let Some(checkpoints) = &checkpoints {
            File::open(&self.out)?.sync_all().with_context(|| format!("{}", self.out.display()))?;
            checkpoints.clear()?;
        }
        Ok(())
    }

    fn checkpoints(
        &self,
        context: &Context,
        model: &Model,
        plan: &Plan,
        input: &[Ciphertext],
    ) -> Result<Option<Checkpoints>> {
        let Some(directory) = &self.checkpoint else { return Ok(None) };
        Ok(Some(Checkpoints::new(directory, context, Identity::new(context, model, plan, input)?)?))
    }
}

impl Decrypt {
    /// Runs the command.
    pub fn execute(self) -> Result<()> {
        let model = self.common.load()?;
        let tokenizer = self.common.tokenizer()?;
        let tokens = tokenise(&tokenizer, &model, &self.prompt)?;
        let parameters = self.common.parameters()?;
        let circuit = Circuit::new(&model, parameters.slots(), tokens.len())?;
        let context = Context::new(parameters)?;
        let secret = open(&self.secret, |file| Ok(read_secret_key(file, &context)?))?;
        let parts = open(&self.input, |file| Ok(read_ciphertexts(file, &context)?))?;
        let parts: Vec<_> = parts.iter().collect();
        let logits =
            read(&context, &secret, &parts, &circuit.logits()).with_context(|| format!("{}", self.input.display()))?;
        if let Some(path) = &self.logits {
            std::fs::write(path, serde_json::to_string(&logits)?).with_context(|| format!("{}", path.display()))?;
        }
        let token = argmax(&logits);
        let text = tokenizer.decode(&[token], false).map_err(|error| anyhow::anyhow!("tokenizer.json: {error}"))?;
        println!("next        {text:?} (token {token})");
        Ok(())
    }
}

fn open<T>(path: &Path, read: impl FnOnce(BufReader<File>) -> Result<T>) -> Result<T> {
    let read = || read(BufReader::new(File::open(path)?));
    read().with_context(|| format!("{}", path.display()))
}

fn save(path: &Path, write: impl FnOnce(BufWriter<File>) -> Result<()>) -> Result<()> {
    save_as(path, File::options().write(true).create(true).truncate(true), write)
}

fn save_as(path: &Path, options: &OpenOptions, write: impl FnOnce(BufWriter<File>) -> Result<()>) -> Result<()> {
    let write = || write(BufWriter::new(options.open(path)?));
    write().with_context(|| format!("{}", path.display()))
}

/// A new file that only its owner may read, where the system knows owners.
pub(super) fn private() -> OpenOptions {
    let mut options = File::options();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}
