//! The server's cache of keys and values on disk (`r[generate.file]`).
//!
//! One file, `cache`, in a directory; an extended cache takes its place once it is durable, so a killed step can be run again.

use crate::artifact::Model;
use crate::circuit::{Cache, LayerCache};
use crate::error::{LlmError, Result};
use crate::fingerprint::hash_of_model;
use crate::generation::Generation;
use crate::sealed::{self, hexadecimal};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::path::{Path, PathBuf};
use touchstone_ckks::{Ciphertext, Context};

const FORMAT: &str = "touchstone-cache-1";
const NAME: &str = "cache";

/// First line of the file; hashes are SHA-256 in hexadecimal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    format: String,
    /// Hash of configuration, polynomials and weights.
    model: String,
    /// Fingerprint of the parameter set.
    parameters: String,
    /// Levels of the cache.
    levels: String,
    /// Live tokens.
    length: usize,
}

/// The cache of one generation in a directory.
#[derive(Debug)]
pub struct CacheFile<'a> {
    directory: PathBuf,
    context: &'a Context,
    /// Length left open.
    header: Header,
    layers: usize,
}

impl<'a> CacheFile<'a> {
    /// The cache of a generation in `directory`, which is made if it is missing.
    ///
    /// # Errors
    /// [`LlmError::Io`].
    pub fn new(directory: &Path, context: &'a Context, model: &Model, generation: &Generation) -> Result<Self> {
        std::fs::create_dir_all(directory).map_err(LlmError::io(directory))?;
        let header = Header {
            format: FORMAT.to_owned(),
            model: hash_of_model(model)?,
            parameters: hexadecimal(&context.parameters().fingerprint()),
            levels: format!("{:?}", generation.cache),
            length: 0,
        };
        Ok(Self { directory: directory.to_owned(), context, header, layers: model.layers.len() })
    }

    /// Makes a cache durable in place of the one before.
    ///
    /// # Errors
    /// [`LlmError::Io`], or ciphertexts of other parameters.
    pub fn save(&self, cache: &Cache<Ciphertext>) -> Result<()> {
        let header = Header { length: cache.length, ..self.header.clone() };
        let all: Vec<_> = LayerCache::listed(&cache.layers).collect();
        sealed::write((&self.directory, &self.path()), self.context, &header, &all)
    }

    /// The cache, or none before prefill.
    ///
    /// # Errors
    /// [`LlmError::File`] if it is damaged or belongs to another model, parameter set or plan; [`LlmError::Io`].
    pub fn load(&self) -> Result<Option<Cache<Ciphertext>>> {
        let path = self.path();
        if !path.exists() {
            return Ok(None);
        }
        let file = File::open(&path).map_err(LlmError::io(&path))?;
        let (header, all) =
            sealed::read(file, (self.context, &path), "a key-value cache", |header| self.check(header))?;
        let found = all.len();
        let Some(layers) = LayerCache::of_list(all, self.layers) else {
            let expected = format!("keys and values of {} layers", self.layers);
            return Err(self.refuse("number of ciphertexts", expected, found.to_string()));
        };
        Ok(Some(Cache { layers, length: header.length }))
    }

    fn check(&self, found: &Header) -> Result<()> {
        let own = &self.header;
        let fields = [
            ("format", &own.format, &found.format),
            ("model", &own.model, &found.model),
            ("parameters", &own.parameters, &found.parameters),
            ("levels", &own.levels, &found.levels),
        ];
        match fields.into_iter().find(|(_, own, found)| own != found) {
            Some((what, own, found)) => Err(self.refuse(what, own.clone(), found.clone())),
            None => Ok(()),
        }
    }

    fn refuse(&self, operation: &str, expected: String, got: String) -> LlmError {
        LlmError::File { file: self.path().display().to_string(), operation: operation.to_owned(), expected, got }
    }

    fn path(&self) -> PathBuf {
        self.directory.join(NAME)
    }
}
