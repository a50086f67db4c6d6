//! `--cache`: keys and values of earlier texts in a file, so that what begins alike is not computed again.
//!
//! Nothing here may change the text. What cannot be used is said in one line and computed as if there were no file.

use alloc::format;
use alloc::vec::Vec;

use picolm_core::error::{CacheError, Error};
use picolm_core::kv::BLOCK;
use picolm_core::prompt_cache::{Checksum, Entry, MAGIC, PromptCache, fingerprint, padding};
use picolm_core::session::Session;

use crate::failure::{Failure, shown};
use crate::host::{File, Host, IoError, LockedFile};
use crate::loaded::Loaded;
use crate::options::Options;
use crate::weights::Weights;

/// A file of keys and values, for one model.
pub(crate) struct Cached<'o> {
    path: &'o [u8],
    limit: u64,
    /// What stands for the model and its settings.
    model: u64,
    /// Whether keys and values in the file were found damaged.
    damaged: bool,
    read_only: bool,
}

impl<'o> Cached<'o> {
    /// Opens the file that the options name; makes it if there is none, so that what is wrong is said before any work.
    ///
    /// # Errors
    ///
    /// A file that can be neither written nor read, or one that is a model.
    pub(crate) fn open<H: Host>(
        host: &H,
        options: &Options<'o>,
        loaded: &Loaded<'_, H>,
        session: &Session<'_, '_, Weights<'_, H>>,
    ) -> Result<Option<Self>, Failure> {
        let Some(path) = options.cache else { return Ok(None) };
        let writable = host.lock(path).map(drop);
        let file = host.open(path);
        if file.as_ref().is_ok_and(|file| file.as_ref().starts_with(b"GGUF")) {
            let text = format!("{}: this is a model (GGUF), not a prompt cache", shown(path));
            return Err(Failure::Request(text));
        }
        let mut cached =
            Cached { path, limit: options.cache_size, model: 0, damaged: false, read_only: false };
        match (writable, file) {
            (Ok(()), _) => {}
            (Err(error), Ok(_)) => {
                cached.note(host, &format!("{}; it is read and stays as it is", error.text));
                cached.read_only = true;
            }
            (Err(error), Err(_)) => return Err(Failure::file(path, error)),
        }
        if !session.is_positional() {
            let text = "a model with convolutions remembers more than keys and values; nothing is kept of its texts";
            cached.note(host, text);
            return Ok(None);
        }
        let mut source = loaded.source()?;
        cached.model = fingerprint(&loaded.model, loaded.header(), &mut source, session.cache().kind())
            .map_err(|error| loaded.fail(error))?;
        Ok(Some(cached))
    }

    /// Takes from the file what it has of the beginning of a text, and returns how many tokens that is: at least the last
    /// one is left to be computed, as its logits are wanted.
    pub(crate) fn load<H: Host>(
        &mut self,
        host: &H,
        session: &mut Session<'_, '_, Weights<'_, H>>,
        tokens: &[u32],
    ) -> usize {
        let Ok(file) = host.open(self.path) else { return 0 };
        let (cache, mut damage) = PromptCache::read(file.as_ref());
        let wanted = tokens.get(..tokens.len().saturating_sub(1)).unwrap_or_default();
        let mut restored: Result<(), Error> = Ok(());
        let found = cache.find(self.model, wanted, |found| {
            if restored.is_ok() {
                restored = session.restore(found.data, found.positions);
            }
        });
        self.damaged = found.is_err();
        if file.shortened().is_some() {
            session.truncate(0);
            damage = Some(CacheError::Record { offset: 0 });
        }
        let error = found.err().or(damage).map(Error::from).or(restored.err());
        if let Some(error) = error {
            self.note(host, &format!("{error}; what is missing is computed"));
        }
        session.position()
    }

    /// Adds a text to the file. What goes wrong is said in one line; the text itself has been written.
    pub(crate) fn save<H: Host>(
        &self,
        host: &H,
        session: &Session<'_, '_, Weights<'_, H>>,
        tokens: &[u32],
    ) {
        if self.read_only || tokens.is_empty() {
            return;
        }
        if let Err(error) = self.try_save(host, session, tokens) {
            self.note(host, &format!("{}; this text is not kept", error.text));
        }
    }

    fn try_save<H: Host>(
        &self,
        host: &H,
        session: &Session<'_, '_, Weights<'_, H>>,
        tokens: &[u32],
    ) -> Result<(), IoError> {
        let mut locked = host.lock(self.path)?;
        let mut file = host.open(self.path).ok();
        let (mut cache, damage) = PromptCache::read(bytes(&file));
        if damage == Some(CacheError::NotACache) {
            // Whatever it is, somebody may want it.
            host.rename(self.path, &[self.path, b".old"].concat())?;
            locked = host.lock(self.path)?;
            file = None;
            cache = PromptCache::default();
        }
        let text = Text { model: self.model, tokens, check: self.damaged };
        let stored = cache.stored(text.model, tokens, text.check);
        let missing = text.missing_bytes(session, stored.blocks);
        if missing == 0 && cache.is_latest(stored) {
            return Ok(());
        }
        if cache.end() as u64 + missing <= self.limit {
            return text.append(host, session, self.path, &mut locked, self.limit);
        }
        // Room for some texts more, so that the next one need not make the file anew.
        cache.touch(stored);
        let keep = (self.limit - self.limit / 4).saturating_sub(missing);
        let new = [self.path, b".new"].concat();
        let mut renewed = host.lock(&new)?;
        renewed.cut(0)?;
        cache.rewrite(usize::try_from(keep).unwrap_or(usize::MAX), &mut |part| renewed.append(part))?;
        drop(file);
        text.append(host, session, &new, &mut renewed, self.limit)?;
        drop(renewed);
        host.rename(&new, self.path)
    }

    fn note<H: Host>(&self, host: &H, text: &str) {
        host.write_error(format!("picolm: {}: {text}\n", shown(self.path)).as_bytes());
    }
}

/// A text to be added.
struct Text<'t> {
    model: u64,
    tokens: &'t [u32],
    /// Whether stored keys and values are looked at before they count.
    check: bool,
}

impl Text<'_> {
    /// Bytes of the records from a block on.
    fn missing_bytes<H: Host>(&self, session: &Session<'_, '_, Weights<'_, H>>, first: usize) -> u64 {
        let data = session.cache().saved_bytes();
        let blocks = self.tokens.chunks(BLOCK).skip(first);
        blocks.map(|tokens| Entry { model: 0, parent: 0, tokens }.bytes(data) as u64).sum()
    }

    /// Appends what the file at `path` lacks, as far as the limit allows.
    fn append<H: Host>(
        &self,
        host: &H,
        session: &Session<'_, '_, Weights<'_, H>>,
        path: &[u8],
        locked: &mut H::Locked,
        limit: u64,
    ) -> Result<(), IoError> {
        let file = host.open(path).ok();
        let (cache, _) = PromptCache::read(bytes(&file));
        let stored = cache.stored(self.model, self.tokens, self.check);
        let mut parent = cache.parent(stored);
        let mut end = cache.end() as u64;
        // What lies behind is damaged or was never finished.
        locked.cut(end)?;
        if end == 0 {
            locked.append(&MAGIC)?;
            end = MAGIC.len() as u64;
        }
        let kv = session.cache();
        let blocks = self.tokens.chunks(BLOCK).enumerate().skip(stored.blocks);
        let mut appended = false;
        for (block, tokens) in blocks {
            let entry = Entry { model: self.model, parent, tokens };
            let bytes = entry.bytes(kv.saved_bytes()) as u64;
            if end + bytes > limit {
                break;
            }
            let mut checksum = Checksum::default();
            let Ok(()) = kv.save::<core::convert::Infallible>(block, &mut |part| {
                checksum.update(part);
                Ok(())
            });
            let mut write = |part: &[u8]| locked.append(part);
            let written = entry
                .write(kv.saved_bytes(), checksum.finish(), &mut write)
                .and_then(|()| kv.save(block, &mut write))
                .and_then(|()| write(padding(kv.saved_bytes())));
            if let Err(error) = written {
                // Another text may still fit.
                let _ = locked.cut(end);
                return Err(error);
            }
            (parent, appended) = (end, true);
            end += bytes;
        }
        if !appended && parent != 0 {
            Entry { model: self.model, parent, tokens: &[] }
                .write(0, 0, &mut |part| locked.append(part))?;
        }
        locked.sync()
    }
}

fn bytes<F: File>(file: &Option<F>) -> &[u8] {
    file.as_ref().map(AsRef::as_ref).unwrap_or_default()
}

/// The texts of a file, and `picolm cache FILE --cache-size`.
pub(crate) fn prune<H: Host>(host: &H, path: &[u8], limit: u64) -> Result<(), Failure> {
    let fail = |error| Failure::file(path, error);
    let locked = host.lock(path).map_err(fail)?;
    let file = host.open(path).ok();
    let (cache, damage) = PromptCache::read(bytes(&file));
    if let Some(error @ CacheError::NotACache) = damage {
        return Err(Failure::engine(path, error));
    }
    let new: Vec<u8> = [path, b".new"].concat();
    let mut renewed = host.lock(&new).map_err(fail)?;
    renewed
        .cut(0)
        .and_then(|()| {
            let limit = usize::try_from(limit).unwrap_or(usize::MAX);
            cache.rewrite(limit, &mut |part| renewed.append(part))
        })
        .and_then(|()| renewed.sync())
        .map_err(fail)?;
    drop((file, renewed));
    host.rename(&new, path).map_err(fail)?;
    drop(locked);
    Ok(())
}
