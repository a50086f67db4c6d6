//! `picolm logits`: the model's answer after a text's last token, as numbers.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use picolm_core::order::sorted;

use crate::decimal::Decimal;
use crate::failure::Failure;
use crate::host::Host;
use crate::json::{Json, quote};
use crate::loaded::{self, Loaded};
use crate::options::Options;

pub(crate) fn run<H: Host>(host: &H, options: &Options<'_>) -> Result<(), Failure> {
    let text = match &options.token_ids {
        Some(_) => Vec::new(),
        None => crate::prompt(host, options)?,
    };
    let file = loaded::open(host, options)?;
    let loaded = &Loaded::new(options.model, &file)?;
    let tokens = match &options.token_ids {
        Some(ids) => ids.clone(),
        None => loaded.prompt_tokens(&text, options)?,
    };
    let threads = host.threads(options.threads);
    let mut session = loaded.session(host, &threads, options.limits)?;
    let logits = session.evaluate(&tokens).map_err(|error| loaded.fail(error))?;
    let hash = format!("{:016x}", hash(logits));
    if options.hash && !options.json {
        return crate::write(host, &(hash + "\n"));
    }
    let top = top(logits, options.top);
    if options.json {
        return crate::write(host, &to_json(&tokens, &top, &hash));
    }
    let mut text = String::new();
    for (id, logit) in top {
        let mut piece = Vec::new();
        loaded.model.tokenizer.decode(id, true, &mut piece);
        text.push_str(&format!("{id:>8} {:>12} ", format!("{}", Decimal(logit.into(), 6))));
        quote(&piece, &mut text);
        text.push('\n');
    }
    crate::write(host, &text)
}

fn to_json(tokens: &[u32], top: &[(u32, f32)], hash: &str) -> String {
    Json::object(|json| {
        json.list("tokens", |list| tokens.iter().for_each(|token| list.item(token)));
        json.list("top", |list| {
            for (id, logit) in top {
                list.item_list(|pair| {
                    pair.item(id);
                    pair.item(Decimal((*logit).into(), 6));
                });
            }
        });
        json.string("hash", hash.as_bytes());
    })
}

/// The `count` largest logits, the largest first, equal ones in the order of their ids.
fn top(logits: &[f32], count: usize) -> Vec<(u32, f32)> {
    let logit = |index: usize| logits.get(index).copied().unwrap_or(f32::NEG_INFINITY);
    let order = sorted(logits.len(), &mut |a, b| logit(b).total_cmp(&logit(a))).unwrap_or_default();
    order.iter().take(count).map(|&id| (id, logit(id as usize))).collect()
}

/// FNV-1a over the little-endian bits of the logits; all that are no numbers count alike.
fn hash(logits: &[f32]) -> u64 {
    let mut hash = 0xCBF2_9CE4_8422_2325_u64;
    for logit in logits {
        let bits = if logit.is_nan() { 0x7FC0_0000 } else { logit.to_bits() };
        for byte in bits.to_le_bytes() {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3);
        }
    }
    hash
}
