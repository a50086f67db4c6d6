//! `picolm cache FILE`: the texts in a prompt cache; with `--cache-size` those that were used last stay.

use alloc::format;
use alloc::string::String;
use core::fmt::Write;

use picolm_core::prompt_cache::PromptCache;

use crate::cached;
use crate::decimal::Decimal;
use crate::failure::Failure;
use crate::host::Host;
use crate::json::Json;
use crate::options::Options;

pub(crate) fn run<H: Host>(host: &H, options: &Options<'_>) -> Result<(), Failure> {
    let path = options.model;
    // A file that is not there is not made.
    let mut file = host.open(path).map_err(|error| Failure::file(path, error))?;
    if let Some(limit) = options.prune {
        drop(file);
        cached::prune(host, path, limit)?;
        file = host.open(path).map_err(|error| Failure::file(path, error))?;
    }
    let (cache, damage) = PromptCache::read(file.as_ref());
    if let Some(error) = damage {
        return Err(Failure::engine(path, error));
    }
    let (texts, bytes) = (cache.texts(), file.as_ref().len());
    let text = match options.json {
        true => Json::object(|json| {
            json.number("bytes", bytes);
            json.list("texts", |json| {
                for text in &texts {
                    json.item_object(|json| {
                        json.string("model", format!("{:016x}", text.model).as_bytes());
                        json.number("tokens", text.tokens);
                        json.number("bytes", text.bytes);
                    });
                }
            });
        }),
        false => {
            let mut table =
                String::from("model             tokens      bytes   (those used last first)\n");
            for text in &texts {
                let _ = writeln!(table, "{:016x} {:>7} {:>10}", text.model, text.tokens, text.bytes);
            }
            let _ = writeln!(table, "{} texts, {} MB", texts.len(), Decimal(bytes as f64 / 1e6, 1));
            table
        }
    };
    crate::write(host, &text)
}
