//! The smallest models, whose files the targets read.

use touchstone_ckks::Context;
use touchstone_llm::checkpoint::{Checkpoints, Identity};
use touchstone_spec::artifact::{EncoderConfig, ModelConfig};

/// The smallest decoder; its head is a matrix of its own or the embedding.
pub fn decoder(tied: bool) -> ModelConfig {
    let text = r#"{"model_type": "gpt_neox", "hidden_size": 2, "num_hidden_layers": 1, "num_attention_heads": 1,
        "intermediate_size": 3, "vocab_size": 4, "max_position_embeddings": 8, "rotary_pct": 1.0,
        "rotary_emb_base": 10000.0, "use_parallel_residual": true, "layer_norm_eps": 1e-5, "hidden_act": "gelu",
        "tie_word_embeddings": TIED, "power_softmax": {"p": 4, "eps": 0.01, "eps_on": "mean", "score_scale": 1.0}}"#;
    ModelConfig::from_json(&text.replace("TIED", &tied.to_string())).expect("a configuration")
}

/// The smallest encoder with a pooler.
pub fn encoder() -> EncoderConfig {
    let text = r#"{"model_type": "bert", "hidden_size": 2, "num_hidden_layers": 1, "num_attention_heads": 1,
        "intermediate_size": 3, "vocab_size": 4, "max_position_embeddings": 4, "type_vocab_size": 1,
        "layer_norm_eps": 1e-5, "hidden_act": "gelu",
        "power_softmax": {"p": 4, "eps": 0.01, "eps_on": "mean", "score_scale": 1.0}}"#;
    EncoderConfig::from_json(text).expect("a configuration")
}

/// Checkpoints of one pass; nothing is kept in their directory.
pub fn checkpoints(context: &Context) -> Checkpoints {
    let [model, parameters, plan, input, cache] = ["m", "p", "l", "i", "c"].map(str::to_owned);
    let identity = Identity { model, parameters, plan, input, cache };
    Checkpoints::new(&std::env::temp_dir(), context, identity).expect("a directory that exists")
}
