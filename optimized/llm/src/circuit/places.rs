//! Where the entries of each tap lie in the packing.

use crate::layout::Layout;
use crate::tap::{Decode, Part, Place};

/// `[token]`: the same real value in all rows.
pub(super) fn tokens(layout: &Layout, tokens: usize, factor: f64, offset: f64) -> Decode {
    debug_assert!(tokens <= layout.tokens);
    let place = |tau| Some(Place { ciphertext: 0, slot: tau, part: Part::Re, factor, offset });
    Decode { shape: vec![tokens], places: (0..tokens).map(place).collect() }
}

/// `[token][d]`: channels in replica 0 of their part.
pub(super) fn channels(layout: &Layout, tokens: usize, factor: f64) -> Decode {
    channels_of(layout, 0..tokens, factor)
}

/// `[1][d]`: channels of the token at a position.
pub(super) fn channels_at(layout: &Layout, position: usize, factor: f64) -> Decode {
    channels_of(layout, position..position + 1, factor)
}

fn channels_of(layout: &Layout, tokens: std::ops::Range<usize>, factor: f64) -> Decode {
    let width = 2 * layout.pairs.len() * layout.live_heads;
    let mut rows = vec![(0, 0, Part::Re); width];
    for part in 0..layout.parts {
        for row in (0..layout.rows()).filter(|&row| layout.row_parts(row).1 == 0) {
            if let Some((a, b)) = layout.real_channels(part, row) {
                rows[a] = (part, row, Part::Re);
                rows[b] = (part, row, Part::Im);
            }
        }
    }
    let place = |tau: usize, (ciphertext, row, part)| {
        Some(Place { ciphertext, slot: row * layout.tokens + tau, part, factor, offset: 0.0 })
    };
    let shape = vec![tokens.len(), width];
    let places = tokens.flat_map(|tau| rows.iter().map(move |&row| place(tau, row))).collect();
    Decode { shape, places }
}

/// `[head][token]`: the same real value for all channels of a head, a ciphertext per group of heads.
pub(super) fn heads(layout: &Layout, tokens: usize, factor: f64, offset: f64) -> Decode {
    let place = |head: usize, tau| {
        Some(Place {
            ciphertext: head / layout.heads,
            slot: layout.row(0, 0, head % layout.heads) * layout.tokens + tau,
            part: Part::Re,
            factor,
            offset,
        })
    };
    let places = (0..layout.live_heads).flat_map(|head| (0..tokens).map(move |tau| place(head, tau))).collect();
    Decode { shape: vec![layout.live_heads, tokens], places }
}

/// `[head][token][token]`: the key `delta` tokens back is in replica `delta mod R` of ciphertext `delta / R` of the head's group;
/// `distance(query, key)` gives `delta`, or none for an entry that is 0.
pub(super) fn pairs(
    layout: &Layout,
    tokens: usize,
    distance: impl Fn(usize, usize) -> Option<usize>,
    factor: impl Fn(usize) -> f64,
) -> Decode {
    let mut places = Vec::with_capacity(layout.live_heads * tokens * tokens);
    for head in 0..layout.live_heads {
        for query in 0..tokens {
            for key in 0..tokens {
                places.push(distance(query, key).map(|delta| Place {
                    ciphertext: head / layout.heads * layout.distances() + delta / layout.replicas,
                    slot: layout.row(0, delta % layout.replicas, head % layout.heads) * layout.tokens + query,
                    part: Part::Re,
                    factor: factor(query),
                    offset: 0.0,
                }));
            }
        }
    }
    Decode { shape: vec![layout.live_heads, tokens, tokens], places }
}

/// `[head][1][token]`: the key at a position of the row, for one query.
pub(super) fn row(layout: &Layout, tokens: usize, factor: f64) -> Decode {
    let places = heads(layout, tokens, factor, 0.0).places;
    Decode { shape: vec![layout.live_heads, 1, tokens], places }
}

/// Channels of one token: `[d]`.
pub(super) fn channels_of_first(layout: &Layout, factor: f64) -> Decode {
    let places = channels(layout, 1, factor).places;
    Decode { shape: vec![places.len()], places }
}

/// Units of one token: `[f]`.
pub(super) fn units_of_first(layout: &Layout, count: usize, factor: f64, offset: f64) -> Decode {
    Decode { shape: vec![count], places: units(layout, 1, count, factor, offset).places }
}

/// `[classes]`: classes `2 i` and `2 i + 1` in complex channel `i` of the first token.
pub(super) fn classes(layout: &Layout, classes: usize, factor: f64) -> Decode {
    let place = |class: usize| {
        let (ciphertext, channel) = (class / 2 / layout.channels(), class / 2 % layout.channels());
        let slot = layout.row(channel / layout.heads, 0, channel % layout.heads) * layout.tokens;
        let part = if class.is_multiple_of(2) { Part::Re } else { Part::Im };
        Some(Place { ciphertext, slot, part, factor, offset: 0.0 })
    };
    Decode { shape: vec![classes], places: (0..classes).map(place).collect() }
}

/// `[token][f]`: unit `u` in row `u mod rows` of ciphertext `u / rows`.
pub(super) fn units(layout: &Layout, tokens: usize, units: usize, factor: f64, offset: f64) -> Decode {
    let rows = layout.rows();
    let place = |tau: usize, unit: usize| {
        let slot = unit % rows * layout.tokens + tau;
        Some(Place { ciphertext: unit / rows, slot, part: Part::Re, factor, offset })
    };
    let places = (0..tokens).flat_map(|tau| (0..units).map(move |unit| place(tau, unit))).collect();
    Decode { shape: vec![tokens, units], places }
}

/// `[vocabulary]`: logits `2 i` and `2 i + 1` in row `i mod rows` of ciphertext `i / rows`, at one token.
pub(super) fn logits(layout: &Layout, vocabulary: usize, token: usize, factor: f64) -> Decode {
    let rows = layout.rows();
    let place = |v: usize| {
        let slot = v / 2 % rows * layout.tokens + token;
        let part = if v.is_multiple_of(2) { Part::Re } else { Part::Im };
        Some(Place { ciphertext: v / 2 / rows, slot, part, factor, offset: 0.0 })
    };
    Decode { shape: vec![vocabulary], places: (0..vocabulary).map(place).collect() }
}

/// `[vocabulary]`: logits `2 i` and `2 i + 1` in slot `i mod slots` of ciphertext `i / slots`.
pub(super) fn wide_logits(layout: &Layout, vocabulary: usize, factor: f64) -> Decode {
    let place = |v: usize| {
        let part = if v.is_multiple_of(2) { Part::Re } else { Part::Im };
        Some(Place { ciphertext: v / 2 / layout.slots, slot: v / 2 % layout.slots, part, factor, offset: 0.0 })
    };
    Decode { shape: vec![vocabulary], places: (0..vocabulary).map(place).collect() }
}
