//! Client and server as separate processes that exchange files. Only the client's commands touch `secret.key`.

use super::plan::bytes;
use super::predicted::Comparison;
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
use touchstone_llm::cache_file::CacheFile;
use touchstone_llm::checkpoint::{Checkpoints, Identity};
use touchstone_llm::circuit::{Cache, Circuit, Requirements, Start};
use touchstone_llm::generation::Generation;
use touchstone_llm::sampling::argmax;
use touchstone_llm::session::{Server, Task, encrypt, generate_keys, key_entries, read};
use touchstone_llm::tap::Blind;

/// Arguments of `touchstone keygen`.
#[derive(Debug, Args)]
pub struct Keygen {
    #[command(flatten)]
    common: Common,
    /// Directory for secret.key, public.key and evaluation.keys
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Add the keys of decoding steps behind a key-value cache
    #[arg(long)]
    generation: bool,
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
    #[arg(long, value_name = "TEXT", required_unless_present = "next_token")]
    prompt: Option<OsString>,
    /// In place of a text, the token of the next decoding step behind a key-value cache
    #[arg(long, value_name = "ID", conflicts_with = "prompt")]
    next_token: Option<u32>,
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
    /// Keep encrypted keys and values here: compute a prompt if there are none yet, else the next token behind them
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,
    /// Tokens of the prompt, which a cache must know
    #[arg(long, value_name = "L", requires = "cache")]
    length: Option<usize>,
    /// Memory that the computation may take, such as 20G: one that is predicted to need more is refused, what is left holds caches
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    memory: Option<u64>,
}

/// Arguments of `touchstone decrypt`.
#[derive(Debug, Args)]
pub struct Decrypt {
    #[command(flatten)]
    common: Common,
    /// The prompt that was encrypted: its length tells which position to read
    #[arg(long, value_name = "TEXT", required_unless_present = "step")]
    prompt: Option<OsString>,
    /// Read the logits of a decoding step in place of a prompt's
    #[arg(long, conflicts_with = "prompt")]
    step: bool,
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
        let plan = match self.generation {
            true => Generation::find(&model, &parameters)?.keys,
            false => {
                let circuit = Circuit::new(&model, parameters.slots(), model.config.max_position_embeddings)?;
                circuit.requirements(&parameters)?.keys
            }
        };
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
        let parameters = self.common.parameters()?;
        let (slots, level) = match (&self.prompt, self.next_token) {
            (_, Some(token)) => {
                let generation = Generation::find(&model, &parameters)?;
                // A token is packed in the same way for every position.
                let circuit = generation.step(&model, parameters.slots(), 0)?;
                (circuit.input(&[token])?, generation.decode.input_level())
            }
            (prompt, None) => {
                let prompt = prompt.as_ref().context("--prompt: expected a text")?;
                let tokens = tokenise(&self.common.tokenizer()?, &model, prompt)?;
                let circuit = Circuit::new(&model, parameters.slots(), tokens.len())?;
                (circuit.input(&tokens)?, circuit.requirements(&parameters)?.plan.input_level())
            }
        };
        let context = Context::new(parameters)?;
        let public = open(&self.public, |file| Ok(read_public_key(file, &context)?))?;
        let input = encrypt(&context, &public, &slots, level, &seed(self.insecure_seed)?)?;
        save(&self.out, |out| Ok(write_ciphertexts(out, &context, &input)?))
    }
}

impl Compute {
    /// Runs the command.
    pub fn execute(self) -> Result<()> {
        let model = self.common.load()?;
        let parameters = self.common.parameters()?;
        let context = Context::new(parameters)?;
        let input = open(&self.input, |file| Ok(read_ciphertexts(file, &context)?))?;
        if let Some(directory) = &self.cache {
            return self.behind_cache(directory, (&context, &model), &input);
        }
        let circuit = Circuit::new(&model, context.parameters().slots(), model.config.max_position_embeddings)?;
        let requirements = circuit.requirements(context.parameters())?;
        let server = self.server(&context, &circuit, &requirements)?;
        let task = Task::Whole(&requirements.plan);
        let (_, checkpoints) = self.pass(&context, (&server, &circuit), task, &input)?;
        checkpoints.map_or(Ok(()), |checkpoints| Ok(checkpoints.clear()?))
    }

    /// Computes the logits and makes them durable; checkpoints are still there.
    fn pass(
        &self,
        context: &Context,
        (server, circuit): (&Server, &Circuit<'_>),
        task: Task<'_>,
        input: &[Ciphertext],
    ) -> Result<(Option<Cache<Ciphertext>>, Option<Checkpoints>)> {
        let steps = Steps::new();
        let progress = |step: &'static str| steps.enter(step);
        let checkpoints = self.checkpoints((context, circuit), task, input)?;
        let (passed, _) = match &checkpoints {
            Some(checkpoints) => checkpoints.compute(server, circuit, task, input, &progress),
            None => server.pass(circuit, task, Start::Input(input), &mut Blind, &progress),
        }
        .with_context(|| format!("{}", self.input.display()))?;
        save(&self.out, |out| Ok(write_ciphertexts(out, context, &passed.logits)?))?;
        File::open(&self.out)?.sync_all().with_context(|| format!("{}", self.out.display()))?;
        Ok((passed.cache, checkpoints))
    }

    /// Reads the keys of a computation that fits the memory; what is left holds transforms of bootstrapping.
    fn server(&self, context: &Context, circuit: &Circuit<'_>, requirements: &Requirements) -> Result<Server> {
        let predicted = Comparison::new(circuit, context.parameters(), requirements)?;
        self.memory.map_or(Ok(()), |limit| predicted.require(limit))?;
        let keys = open(&self.keys, |file| Ok(read_evaluation_keys(file, context)?))?;
        let mut server = Server::new(context, &keys, &requirements.keys)?;
        server.keep_transforms(self.memory.map_or(0, |limit| predicted.left(limit)))?;
        Ok(server)
    }

    /// Prefill or a decoding step, by whether there is a cache.
    fn behind_cache(&self, directory: &Path, (context, model): (&Context, &Model), input: &[Ciphertext]) -> Result<()> {
        let generation = Generation::find(model, context.parameters())?;
        let prompt = Circuit::new(model, context.parameters().slots(), model.config.max_position_embeddings)?;
        let server = self.server(context, &prompt, &generation.prefilling())?;
        let file = CacheFile::new(directory, context, model, &generation)?;
        let (slots, cache) = (context.parameters().slots(), file.load()?);
        let (circuit, task) = match &cache {
            Some(cache) => (generation.step(model, slots, cache.length())?, Task::Step(&generation, cache)),
            None => {
                let length = self.length.with_context(|| {
                    format!("--length: expected the tokens of the prompt, since {} has no cache", directory.display())
                })?;
                (Circuit::new(model, slots, length)?, Task::Prefill(&generation))
            }
        };
        // The cache comes after the logits: until it is there, the same step can be run again.
        let (next, checkpoints) = self.pass(context, (&server, &circuit), task, input)?;
        next.as_ref().map_or(Ok(()), |next| file.save(next))?;
        checkpoints.map_or(Ok(()), |checkpoints| Ok(checkpoints.clear()?))
    }

    fn checkpoints(
        &self,
        (context, circuit): (&Context, &Circuit<'_>),
        task: Task<'_>,
        input: &[Ciphertext],
    ) -> Result<Option<Checkpoints>> {
        let Some(directory) = &self.checkpoint else { return Ok(None) };
        let identity = Identity::new(context, circuit, (task.plan(), task.cache_levels()), input)?;
        let identity = match task {
            Task::Step(_, cache) => identity.behind(context, cache)?,
            Task::Whole(_) | Task::Prefill(_) => identity,
        };
        Ok(Some(Checkpoints::new(directory, context, identity)?))
    }
}

impl Decrypt {
    /// Runs the command.
    pub fn execute(self) -> Result<()> {
        let model = self.common.load()?;
        let tokenizer = self.common.tokenizer()?;
        let parameters = self.common.parameters()?;
        // The logits of a step are in the places of a prompt's of one token.
        let count = match &self.prompt {
            Some(prompt) => tokenise(&tokenizer, &model, prompt)?.len(),
            None => 1,
        };
        let circuit = Circuit::new(&model, parameters.slots(), count)?;
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
