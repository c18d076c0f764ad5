//! Checkpoints of a long pass: the encrypted stream at layer boundaries, on disk, with the keys and values that the pass keeps.
//!
//! A directory belongs to one pass: model, parameters, plan, encrypted input and the cache that it reads. A checkpoint becomes visible under its
//! name only once all of it is durable, and the one before is removed only after that: whenever the process is killed,
//! at least the last complete one is there. Computing is deterministic, so a resumed run gives the same bits.
//!
//! File `layer-N.checkpoint`: a line of JSON (format, identity, the block that comes next, how many ciphertexts and layers follow), a list of
//! ciphertexts (`r[format.ciphertexts]`: the stream, then keys and values of every layer in order), the SHA-256 of both.

use crate::backend::ckks::Progress;
use crate::circuit::{Cache, CacheLevels, Circuit, LayerCache, Start, State};
use crate::error::{LlmError, Result};
use crate::fingerprint::hash_of_weights;
use crate::plan::Plan;
use crate::profile::Profile;
use crate::sealed::{self, PARTIAL, Sha256Writer, hexadecimal};
use crate::session::{Passed, Server, Task};
use crate::tap::{Decode, Observer};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};
use touchstone_ckks::ckks::serialise::write_ciphertexts;
use touchstone_ckks::{Ciphertext, Context};

const FORMAT: &str = "touchstone-checkpoint-2";
const SUFFIX: &str = ".checkpoint";

/// Which pass a checkpoint belongs to; hashes are SHA-256 in hexadecimal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// Hash of configuration, polynomials and weights.
    pub model: String,
    /// Fingerprint of the parameter set.
    pub parameters: String,
    /// The decisions of the plan.
    pub plan: String,
    /// Hash of the input ciphertexts.
    pub input: String,
    /// Hash of the cache that the pass reads, or of the pass that it came from; empty without one.
    pub cache: String,
}

impl Identity {
    /// A pass by a plan on `input`, with the levels of the cache that it keeps, if it does. Which cache it reads is said by
    /// [`Identity::after`] or [`Identity::behind`].
    ///
    /// # Errors
    /// Ciphertexts of other parameters.
    pub fn new(
        context: &Context,
        circuit: &Circuit<'_>,
        (plan, kept): (&Plan, Option<&[CacheLevels]>),
        input: &[Ciphertext],
    ) -> Result<Self> {
        Ok(Self {
            model: hash_of_weights(circuit)?,
            parameters: hexadecimal(&context.parameters().fingerprint()),
            plan: format!("{:?} {:?} {:?}", plan.blocks, plan.head, kept),
            input: hash_of_ciphertexts(context, input.iter())?,
            cache: String::new(),
        })
    }

    /// With the cache that another pass leaves: computing is deterministic, so that pass stands for its cache.
    ///
    /// # Errors
    /// None that a reader could cause.
    pub fn after(self, pass: &Self) -> Result<Self> {
        let json = serde_json::to_vec(pass).map_err(|error| LlmError::io(Path::new("identity"))(error.into()))?;
        Ok(Self { cache: hexadecimal(&Sha256::digest(json)), ..self })
    }

    /// With a cache at hand.
    ///
    /// # Errors
    /// Ciphertexts of other parameters.
    pub fn behind(self, context: &Context, cache: &Cache<Ciphertext>) -> Result<Self> {
        Ok(Self { cache: hash_of_ciphertexts(context, LayerCache::listed(&cache.layers))?, ..self })
    }

    /// The first field in which `found` differs: name, expected, got.
    fn difference<'a>(&'a self, found: &'a Self) -> Option<(&'static str, &'a str, &'a str)> {
        let fields = [
            ("model", &self.model, &found.model),
            ("parameters", &self.parameters, &found.parameters),
            ("plan", &self.plan, &found.plan),
            ("encrypted input", &self.input, &found.input),
            ("key-value cache", &self.cache, &found.cache),
        ];
        let differs = fields.into_iter().find(|(_, own, other)| own != other);
        differs.map(|(name, own, other)| (name, own.as_str(), other.as_str()))
    }
}

/// First line of a checkpoint.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    format: String,
    identity: Identity,
    /// The block that comes next; one more than the number of blocks if this is the result.
    next: usize,
    /// Ciphertexts of the stream, or of the result.
    stream: usize,
    /// Layers whose keys and values follow them.
    kept: usize,
}

/// The checkpoints of one pass in a directory.
#[derive(Debug)]
pub struct Checkpoints {
    directory: PathBuf,
    context: Context,
    identity: Identity,
}

impl Checkpoints {
    /// The checkpoints of a pass in `directory`, which is made if it is missing.
    ///
    /// # Errors
    /// [`LlmError::Io`].
    pub fn new(directory: &Path, context: &Context, identity: Identity) -> Result<Self> {
        std::fs::create_dir_all(directory).map_err(LlmError::io(directory))?;
        Ok(Self { directory: directory.to_owned(), context: context.clone(), identity })
    }

    /// The pass that they belong to.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// [`Server::pass`] on `input` that saves the stream after each block, the result last, and goes on from what is saved.
    ///
    /// # Errors
    /// As [`Server::pass`]; [`LlmError::File`] for a checkpoint that is damaged or belongs to another pass, naming what
    /// differs; [`LlmError::Io`].
    pub fn compute(
        &self,
        server: &Server,
        circuit: &Circuit<'_>,
        task: Task<'_>,
        input: &[Ciphertext],
        progress: &Progress<'_>,
    ) -> Result<(Passed, Profile)> {
        let start = match self.latest()? {
            Some(state) if state.next == result_of(circuit) => {
                return Ok((result(circuit, state), Profile::new(self.context.parameters())));
            }
            saved => saved.map_or(Start::Input(input), Start::Saved),
        };
        let (passed, profile) = server.pass(circuit, task, start, &mut Saving(self), progress)?;
        let kept = passed.cache.as_ref().map_or(&[][..], |cache| &cache.layers);
        self.save(result_of(circuit), &passed.logits, kept)?;
        Ok((passed, profile))
    }

    /// The result, if it is there; without its cache after [`Checkpoints::forget_cache`].
    ///
    /// # Errors
    /// As [`Checkpoints::latest`].
    pub fn finished(&self, circuit: &Circuit<'_>) -> Result<Option<Passed>> {
        let last = self.latest()?.filter(|state| state.next == result_of(circuit));
        Ok(last.map(|state| result(circuit, state)))
    }

    /// Keeps of a result the logits only: its cache is not needed any more once the result of the pass behind it is durable.
    ///
    /// # Errors
    /// As [`Checkpoints::latest`] and [`Checkpoints::save`].
    pub fn forget_cache(&self) -> Result<()> {
        match self.latest()? {
            Some(state) if !state.kept.is_empty() => self.save(state.next, &state.stream, &[]),
            _ => Ok(()),
        }
    }

    /// The furthest checkpoint.
    ///
    /// # Errors
    /// [`LlmError::File`] if it is damaged or belongs to another pass; [`LlmError::Io`].
    pub fn latest(&self) -> Result<Option<State<Ciphertext>>> {
        self.files()?.into_iter().max().map(|(next, path)| self.load(&path, next)).transpose()
    }

    /// Makes the stream before block `next` durable, with keys and values of the layers before, then removes what came before.
    ///
    /// # Errors
    /// [`LlmError::Io`], or ciphertexts of other parameters.
    pub fn save(&self, next: usize, stream: &[Ciphertext], kept: &[LayerCache<Ciphertext>]) -> Result<()> {
        let earlier = self.files()?;
        let path = self.directory.join(format!("layer-{next}{SUFFIX}"));
        let header = self.header(next, stream, kept);
        sealed::write((&self.directory, &path), &self.context, &header, &listed(stream, kept))?;
        for (_, old) in earlier.into_iter().filter(|(_, old)| *old != path) {
            std::fs::remove_file(&old).map_err(LlmError::io(&old))?;
        }
        Ok(())
    }

    /// Removes the checkpoints, once the result is kept elsewhere.
    ///
    /// # Errors
    /// [`LlmError::Io`].
    pub fn clear(&self) -> Result<()> {
        let partial = self.directory.join(PARTIAL);
        let partial = partial.exists().then_some((0, partial));
        for (_, path) in self.files()?.into_iter().chain(partial) {
            std::fs::remove_file(&path).map_err(LlmError::io(&path))?;
        }
        Ok(())
    }

    /// [`Checkpoints::clear`], and the directory, in which nothing else may be.
    ///
    /// # Errors
    /// [`LlmError::Io`].
    pub fn remove(&self) -> Result<()> {
        self.clear()?;
        std::fs::remove_dir(&self.directory).map_err(LlmError::io(&self.directory))
    }

    fn header(&self, next: usize, stream: &[Ciphertext], kept: &[LayerCache<Ciphertext>]) -> Header {
        let (format, identity) = (FORMAT.to_owned(), self.identity.clone());
        Header { format, identity, next, stream: stream.len(), kept: kept.len() }
    }

    fn load(&self, path: &Path, next: usize) -> Result<State<Ciphertext>> {
        let state = self.read(File::open(path).map_err(LlmError::io(path))?, path)?;
        if state.next != next {
            return Err(refuse(path, "next block", &next.to_string(), &state.next.to_string()));
        }
        Ok(state)
    }

    /// Writes the bytes of a checkpoint.
    ///
    /// # Errors
    /// Those of the writer, or ciphertexts of other parameters.
    pub fn write(&self, out: &mut impl Write, state: &State<Ciphertext>) -> Result<()> {
        let header = self.header(state.next, &state.stream, &state.kept);
        sealed::write_to(out, (&self.context, Path::new("checkpoint")), &header, &listed(&state.stream, &state.kept))
    }

    /// Reads the bytes of a checkpoint; `path` is for errors.
    ///
    /// # Errors
    /// As [`Checkpoints::latest`].
    pub fn read(&self, source: impl Read + Seek, path: &Path) -> Result<State<Ciphertext>> {
        let check = |header: &Header| {
            if header.format != FORMAT {
                return Err(refuse(path, "format", FORMAT, &header.format));
            }
            match self.identity.difference(&header.identity) {
                Some((what, expected, got)) => {
                    Err(refuse(path, &format!("{what} of the checkpoint's pass"), expected, got))
                }
                None => Ok(()),
            }
        };
        let (header, mut stream) = sealed::read(source, (&self.context, path), "a checkpoint", check)?;
        let (found, Header { next, stream: length, kept, .. }) = (stream.len(), header);
        let layers = if length <= found { LayerCache::of_list(stream.split_off(length), kept) } else { None };
        let kept = layers.ok_or_else(|| {
            let expected = format!("{length} ciphertexts, and keys and values of {kept} layers");
            refuse(path, "number of ciphertexts", &expected, &found.to_string())
        })?;
        Ok(State { next, stream, kept })
    }

    /// Complete checkpoints: the next block and the file.
    fn files(&self) -> Result<Vec<(usize, PathBuf)>> {
        let mut files = Vec::new();
        for entry in std::fs::read_dir(&self.directory).map_err(LlmError::io(&self.directory))? {
            let path = entry.map_err(LlmError::io(&self.directory))?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let number = name.strip_prefix("layer-").and_then(|rest| rest.strip_suffix(SUFFIX));
            if let Some(next) = number.and_then(|number| number.parse().ok()) {
                files.push((next, path));
            }
        }
        Ok(files)
    }
}

/// Saves at every boundary.
struct Saving<'a>(&'a Checkpoints);

impl Observer<Ciphertext> for Saving<'_> {
    fn wants(&self, _name: &str) -> bool {
        false
    }

    fn tap(&mut self, _name: &str, _ciphertexts: &[&Ciphertext], _decode: &Decode) -> Result<()> {
        Ok(())
    }

    fn boundary(&mut self, next: usize, stream: &[Ciphertext], kept: &[LayerCache<Ciphertext>]) -> Result<()> {
        self.0.save(next, stream, kept)
    }
}

/// What stands for the next block in the checkpoint of a result.
fn result_of(circuit: &Circuit<'_>) -> usize {
    circuit.model().layers.len() + 1
}

/// What a file holds.
fn listed<'a>(stream: &'a [Ciphertext], kept: &'a [LayerCache<Ciphertext>]) -> Vec<&'a Ciphertext> {
    stream.iter().chain(LayerCache::listed(kept)).collect()
}

fn refuse(path: &Path, operation: &str, expected: &str, got: &str) -> LlmError {
    let (operation, expected, got) = (operation.to_owned(), expected.to_owned(), got.to_owned());
    LlmError::File { file: path.display().to_string(), operation, expected, got }
}

fn result(circuit: &Circuit<'_>, State { stream, kept, .. }: State<Ciphertext>) -> Passed {
    Passed { logits: stream, cache: (!kept.is_empty()).then(|| circuit.cache(kept)) }
}

fn hash_of_ciphertexts<'a>(context: &Context, list: impl Iterator<Item = &'a Ciphertext>) -> Result<String> {
    let mut hash = Sha256Writer::default();
    write_ciphertexts(&mut hash, context, &list.collect::<Vec<_>>())?;
    Ok(hexadecimal(&hash.finish()))
}
