//! `config.json` of either family.

use super::{EncoderConfig, ModelConfig, site_names};
use crate::SpecError;
use serde::{Deserialize, Serialize};

/// A configuration of either family, told apart by `model_type`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum AnyConfig {
    /// GPT-NeoX.
    Decoder(ModelConfig),
    /// BERT or RoBERTa.
    Encoder(EncoderConfig),
}

impl AnyConfig {
    /// Reads and checks `config.json`.
    ///
    /// # Errors
    /// As [`ModelConfig::from_json`] and [`EncoderConfig::from_json`]; [`SpecError::Field`] for another `model_type`.
    pub fn from_json(text: &str) -> Result<Self, SpecError> {
        #[derive(Deserialize)]
        struct Family {
            model_type: String,
        }
        let Family { model_type } =
            serde_json::from_str(text).map_err(|source| SpecError::Json { what: "config.json".to_owned(), source })?;
        match model_type.as_str() {
            "gpt_neox" => Ok(Self::Decoder(ModelConfig::from_json(text)?)),
            "bert" | "roberta" => Ok(Self::Encoder(EncoderConfig::from_json(text)?)),
            _ => Err(SpecError::Field {
                what: "config.json, model_type".to_owned(),
                expected: "gpt_neox, bert or roberta".to_owned(),
                got: model_type,
            }),
        }
    }

    /// Names of the sites in the order in which the model meets them.
    #[must_use]
    pub fn site_names(&self) -> Vec<String> {
        match self {
            Self::Decoder(config) => site_names(config),
            Self::Encoder(config) => config.site_names(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The shipped shapes are admitted, are the sizes that the names promise, and survive a round trip (`r[artifact.config]`).
    #[test]
    fn shipped_shapes_are_admitted() {
        let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/configs");
        let read = |name: &str| {
            let text = std::fs::read_to_string(directory.join(format!("{name}.json"))).unwrap();
            let config = AnyConfig::from_json(&text).unwrap();
            assert_eq!(AnyConfig::from_json(&serde_json::to_string(&config).unwrap()).unwrap(), config);
            config
        };
        // Weights of the blocks, in millions: Pythia's names count the embedding and the head too.
        for (name, millions) in [("70m", 18.9), ("160m", 85.1), ("410m", 302.3), ("1.4b", 1208.6), ("2.8b", 2517.7)] {
            let AnyConfig::Decoder(config) = read(&format!("pythia-{name}")) else { panic!("{name}") };
            let [d, f] = [config.hidden_size, config.intermediate_size];
            let weights = config.num_hidden_layers * (4 * d * d + 2 * d * f + 9 * d + f) + 2 * d;
            assert!((weights as f64 / 1e6 - millions).abs() < 0.06, "{name}: {weights}");
        }
        let AnyConfig::Encoder(config) = read("roberta-base") else { panic!("a decoder") };
        assert_eq!((config.max_tokens(), config.site_names().len()), (512, 50));
    }

    #[test]
    fn other_families_are_refused() {
        let text = AnyConfig::from_json(r#"{"model_type": "llama"}"#).unwrap_err().to_string();
        assert!(text.contains("model_type") && text.contains("llama"), "{text}");
        assert!(matches!(AnyConfig::from_json("{}"), Err(SpecError::Json { .. })));
    }
}
