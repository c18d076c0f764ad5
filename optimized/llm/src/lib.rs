//! Encrypted Power-Softmax transformers: client, server and the touchstone binary.
