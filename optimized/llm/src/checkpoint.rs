//! Checkpoints of a long computation: the encrypted stream at layer boundaries, on disk.
//!
//! A directory belongs to one computation: model, parameters, plan and encrypted input. A checkpoint becomes visible under its
//! name only once all of it is durable, and the one before is removed only after that: whenever the process is killed,
//! at least the last complete one is there. Computing is deterministic, so a resumed run gives the same bits.
//!
//! File `layer-N.checkpoint`: a line of JSON (format, identity, the block that comes next), a list of ciphertexts (`r[format.ciphertexts]`), the SHA-256 of both.

use crate::artifact::{Matrix, Model, Norm};
use crate::backend::ckks::Progress;
use crate::circuit::Circuit;
use crate::error::{LlmError, Result};
use crate::plan::Plan;
use crate::profile::Profile;
use crate::sealed::{self, PARTIAL, Sha256Writer, hexadecimal};
use crate::session::Server;
use crate::tap::{Decode, Observer};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use touchstone_ckks::ckks::serialise::write_ciphertexts;
use touchstone_ckks::{Ciphertext, Context};

const FORMAT: &str = "touchstone-checkpoint-1";
const SUFFIX: &str = ".checkpoint";

/// Which computation a checkpoint belongs to; hashes are SHA-256 in hexadecimal.
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
}

impl Identity {
    /// The computation of `circuit` on `input`.
    ///
    /// # Errors
    /// Ciphertexts of other parameters.
    pub fn new(context: &Context, model: &Model, plan: &Plan, input: &[Ciphertext]) -> Result<Self> {
        let mut hash = Sha256Writer::default();
        write_ciphertexts(&mut hash, context, input)?;
        Ok(Self {
            model: hash_of_model(model)?,
            parameters: hexadecimal(&context.parameters().fingerprint()),
            plan: format!("{:?} {:?}", plan.blocks, plan.head),
            input: hexadecimal(&hash.finish()),
        })
    }

    /// The first field in which `found` differs: name, expected, got.
    fn difference<'a>(&'a self, found: &'a Self) -> Option<(&'static str, &'a str, &'a str)> {
        let fields = [
            ("model", &self.model, &found.model),
            ("parameters", &self.parameters, &found.parameters),
            ("plan", &self.plan, &found.plan),
            ("encrypted input", &self.input, &found.input),
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
}

/// The checkpoints of one computation in a directory.
#[derive(Debug)]
pub struct Checkpoints {
    directory: PathBuf,
    context: Context,
    identity: Identity,
}

impl Checkpoints {
    /// The checkpoints of a computation in `directory`, which is made if it is missing.
    ///
    /// # Errors
    /// [`LlmError::Io`].
    pub fn new(directory: &Path, context: &Context, identity: Identity) -> Result<Self> {
        std::fs::create_dir_all(directory).map_err(LlmError::io(directory))?;
        Ok(Self { directory: directory.to_owned(), context: context.clone(), identity })
    }

    /// [`Server::compute`] that saves the stream after each block, the result last, and goes on from what is saved.
    ///
    /// # Errors
    /// As [`Server::compute`]; [`LlmError::File`] for a checkpoint that is damaged or belongs to another computation, naming what
    /// differs; [`LlmError::Io`].
    pub fn compute(
        &self,
        server: &Server,
        circuit: &Circuit<'_>,
        plan: &Plan,
        input: &[Ciphertext],
        progress: &Progress<'_>,
    ) -> Result<(Vec<Ciphertext>, Profile)> {
        let result = plan.blocks.len() + 1;
        let mut saving = Saving(self);
        let (logits, profile) = match self.latest()? {
            Some((next, saved)) if next == result => {
                return Ok((saved, Profile::new(self.context.parameters())));
            }
            Some((next, stream)) => server.resume(circuit, plan, next, stream, &mut saving, progress)?,
            None => server.compute(circuit, plan, input, &mut saving, progress)?,
        };
        self.save(result, &logits)?;
        Ok((logits, profile))
    }

    /// The furthest checkpoint: the next block, and the stream before it.
    ///
    /// # Errors
    /// [`LlmError::File`] if it is damaged or belongs to another computation; [`LlmError::Io`].
    pub fn latest(&self) -> Result<Option<(usize, Vec<Ciphertext>)>> {
        let Some((next, path)) = self.files()?.into_iter().max() else { return Ok(None) };
        let stream = self.load(&path, next)?;
        Ok(Some((next, stream)))
    }

    /// Makes the stream before block `next` durable, then removes what came before.
    ///
    /// # Errors
    /// [`LlmError::Io`], or ciphertexts of other parameters.
    pub fn save(&self, next: usize, stream: &[Ciphertext]) -> Result<()> {
        let earlier = self.files()?;
        let path = self.directory.join(format!("layer-{next}{SUFFIX}"));
        let header = Header { format: FORMAT.to_owned(), identity: self.identity.clone(), next };
        sealed::write((&self.directory, &path), &self.context, &header, stream)?;
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

    fn load(&self, path: &Path, next: usize) -> Result<Vec<Ciphertext>> {
        let check = |header: &Header| {
            let refuse = |operation: &str, expected: &str, got: &str| {
                let (operation, expected, got) = (operation.to_owned(), expected.to_owned(), got.to_owned());
                Err(LlmError::File { file: path.display().to_string(), operation, expected, got })
            };
            if header.format != FORMAT {
                return refuse("format", FORMAT, &header.format);
            }
            if let Some((what, expected, got)) = self.identity.difference(&header.identity) {
                return refuse(&format!("{what} of the checkpoint's computation"), expected, got);
            }
            if header.next != next {
                return refuse("next block", &next.to_string(), &header.next.to_string());
            }
            Ok(())
        };
        Ok(sealed::read(path, &self.context, "a checkpoint", check)?.1)
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

    fn boundary(&mut self, next: usize, stream: &[Ciphertext]) -> Result<()> {
        self.0.save(next, stream)
    }
}

/// Hash of everything that a model computes with.
pub(crate) fn hash_of_model(model: &Model) -> Result<String> {
    let mut hash = Sha256::new();
    let json = |error: serde_json::Error| LlmError::io(Path::new("model"))(error.into());
    hash.update(serde_json::to_vec(&model.config).map_err(json)?);
    hash.update(serde_json::to_vec(&model.polynomials).map_err(json)?);
    let values = |values: &[f64], hash: &mut Sha256| values.iter().for_each(|x| hash.update(x.to_le_bytes()));
    let matrix = |matrix: &Matrix<f32>, hash: &mut Sha256| {
        matrix.data.iter().for_each(|&x| hash.update(f64::from(x).to_le_bytes()));
    };
    let norm = |norm: &Norm, hash: &mut Sha256| [&norm.gain, &norm.shift].into_iter().for_each(|x| values(x, hash));
    matrix(&model.embedding, &mut hash);
    for layer in &model.layers {
        norm(&layer.attention_norm, &mut hash);
        norm(&layer.mlp_norm, &mut hash);
        for linear in [&layer.qkv, &layer.dense, &layer.up, &layer.down] {
            matrix(&linear.weight, &mut hash);
            values(&linear.bias, &mut hash);
        }
    }
    norm(&model.final_norm, &mut hash);
    matrix(&model.head, &mut hash);
    Ok(hexadecimal(&hash.finalize()))
}
