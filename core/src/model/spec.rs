//! Hyperparameters, read from the metadata and checked.

use alloc::vec::Vec;

use crate::arch::{CHANGING_KEYS, Family, NormKind, family};
use crate::attention::MAX_GROUP;
use crate::error::{Error, GgufError, ModelError, Name};
use crate::gguf::{Gguf, Value};

/// Shapes and constants of a decoder.
#[derive(Debug, Clone)]
pub struct Spec {
    /// The family's name.
    pub architecture: &'static str,
    /// What the family has that others do not.
    pub family: &'static Family,
    /// Elements of a hidden state.
    pub hidden_size: usize,
    /// Number of layers.
    pub layers: usize,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads; divides `heads`.
    pub kv_heads: usize,
    /// Elements of a head.
    pub head_dim: usize,
    /// Elements between the two halves of the feed-forward network.
    pub ffn_size: usize,
    /// Positions that the model was trained for.
    pub context: usize,
    /// ε of the norms.
    pub norm_epsilon: f32,
    /// Elements of a head that are rotated.
    pub rope_dims: usize,
    /// How positions turn them.
    pub rope: RopeSpec,
    /// The same in layers with a window.
    pub window_rope: RopeSpec,
    /// Positions that a convolution takes together; 0 without layers that have one.
    pub convolution: usize,
    /// Positions that a token sees in a layer with a window, its own among them; 0 without such layers.
    pub window: usize,
    /// What distinguishes layers: one entry each.
    pub layer_specs: Vec<LayerSpec>,
    /// What embeddings are multiplied with.
    pub embedding_scale: f32,
    /// What is multiplied with what attention and the feed-forward network add to the residual stream.
    pub residual_scale: f32,
    /// What the products of queries and keys are multiplied with.
    pub attention_scale: f32,
    /// What logits are multiplied with.
    pub logit_scale: f32,
    /// c in c · tanh(score / c) over attention's scores; 0 without.
    pub attention_cap: f32,
    /// The same over logits.
    pub logit_cap: f32,
}

/// How positions turn pairs of elements.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RopeSpec {
    /// Base of the frequencies.
    pub base: f32,
    /// What positions are divided by (1 without scaling).
    pub scale: f32,
    /// Whether that holds for slow pairs only (YaRN).
    pub yarn: bool,
    /// Positions that the model was trained for before its rotation was scaled.
    pub original_context: usize,
    /// What cosines and sines are multiplied with.
    pub magnitude: f32,
}

/// What distinguishes a layer from others of the same model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LayerSpec {
    /// Whether it attends; else it has a convolution.
    pub attends: bool,
    /// Whether it sees only the last positions.
    pub windowed: bool,
    /// Whether its queries and keys are rotated.
    pub rotated: bool,
}

impl Spec {
    /// Reads the keys of the file's own family.
    ///
    /// # Errors
    ///
    /// An unknown family, a missing key, or a value the decoder cannot work with.
    pub fn read(gguf: &Gguf<'_>) -> Result<Self, Error> {
        const ARCHITECTURE: &str = "general.architecture";
        let name = gguf.string(ARCHITECTURE)?.ok_or_else(|| missing(ARCHITECTURE))?;
        let family = family(name).ok_or_else(|| ModelError::Architecture(Name::new(name)))?;
        let keys = Keys { gguf, family };
        keys.refuse_unsupported()?;
        let hidden_size = keys.required("embedding_length", 1, 1 << 20)?;
        let heads = keys.required("attention.head_count", 1, 4096)?;
        let kv_heads = keys.kv_heads()?.unwrap_or(heads);
        if heads % kv_heads != 0 || heads / kv_heads > MAX_GROUP {
            return Err(keys.bad(KV_HEADS, kv_heads, "a divisor of the number of heads"));
        }
        let head_dim = keys.head_dim(hidden_size, heads)?;
        let context = keys.required("context_length", 1, 1 << 26)?;
        let rope = keys.rope(context)?;
        let mut spec = Spec {
            architecture: family.name,
            family,
            hidden_size,
            layers: keys.required("block_count", 1, 4096)?,
            heads,
            kv_heads,
            head_dim,
            ffn_size: keys.required("feed_forward_length", 1, 1 << 22)?,
            context,
            norm_epsilon: keys.positive(keys.epsilon(), None)?,
            rope_dims: keys.rope_dims(head_dim)?,
            rope,
            window_rope: keys.window_rope(rope)?,
            convolution: keys.number("shortconv.l_cache", 2, 64)?.unwrap_or(0),
            window: 0,
            layer_specs: Vec::new(),
            embedding_scale: 1.0,
            residual_scale: 1.0,
            attention_scale: 1.0 / libm::sqrtf(head_dim as f32),
            logit_scale: 1.0,
            attention_cap: 0.0,
            logit_cap: 0.0,
        };
        (family.defaults)(&mut spec);
        keys.constants(&mut spec)?;
        keys.layers(&mut spec)?;
        Ok(spec)
    }
}

/// The keys of one family.
struct Keys<'k, 'h> {
    gguf: &'k Gguf<'h>,
    family: &'static Family,
}

type Key = heapless::String<96>;

const KV_HEADS: &str = "attention.head_count_kv";

impl Keys<'_, '_> {
    fn key(&self, suffix: &str) -> Key {
        let mut key = Key::new();
        // Family names and suffixes are ours and fit.
        let _ = key
            .push_str(self.family.name)
            .and_then(|()| key.push('.'))
            .and_then(|()| key.push_str(suffix));
        key
    }

    fn bad(&self, suffix: &str, found: usize, expected: &'static str) -> Error {
        let key = Name::new(self.key(suffix).as_bytes());
        GgufError::BadValue { key, found: found as u64, expected }.into()
    }

    fn unsupported(&self, suffix: &str) -> Error {
        ModelError::Unsupported { key: Name::new(self.key(suffix).as_bytes()) }.into()
    }

    fn number(&self, suffix: &str, min: usize, max: usize) -> Result<Option<usize>, Error> {
        match self.gguf.u32(&self.key(suffix))? {
            None => Ok(None),
            Some(n) if (min..=max).contains(&(n as usize)) => Ok(Some(n as usize)),
            Some(n) => Err(self.bad(suffix, n as usize, "in the range that models have")),
        }
    }

    fn required(&self, suffix: &str, min: usize, max: usize) -> Result<usize, Error> {
        self.number(suffix, min, max)?.ok_or_else(|| missing(&self.key(suffix)))
    }

    fn positive(&self, suffix: &str, default: Option<f32>) -> Result<f32, Error> {
        let key = self.key(suffix);
        match self.gguf.f32(&key)?.or(default) {
            None => Err(missing(&key)),
            Some(x) if x > 0.0 && x.is_finite() => Ok(x),
            Some(_) => {
                let key = Name::new(key.as_bytes());
                Err(GgufError::WrongType { key, expected: "a positive float" }.into())
            }
        }
    }

    /// A constant that a file may leave out or set to 0.
    fn constant(&self, suffix: &str) -> Result<Option<f32>, Error> {
        match self.gguf.f32(&self.key(suffix))? {
            None | Some(0.0) => Ok(None),
            Some(_) => self.positive(suffix, None).map(Some),
        }
    }

    fn epsilon(&self) -> &'static str {
        match self.family.norm {
            NormKind::Rms => "attention.layer_norm_rms_epsilon",
            NormKind::Layer => "attention.layer_norm_epsilon",
        }
    }

    /// One number for all layers, or one for each, where 0 means that the layer does not attend.
    fn kv_heads(&self) -> Result<Option<usize>, Error> {
        let Some(Value::Array(array)) = self.gguf.value(&self.key(KV_HEADS)) else {
            return self.number(KV_HEADS, 1, 4096);
        };
        let count = |value: Value<'_>| value.unsigned().and_then(|count| usize::try_from(count).ok());
        let mut counts = array.iter().map(|value| count(value).unwrap_or(usize::MAX));
        let most = array.iter().filter_map(count).max().unwrap_or(0);
        let alike = counts.all(|count| count == most || (count == 0 && self.has_convolutions()));
        match most {
            1..=4096 if alike => Ok(Some(most)),
            _ => Err(self.bad(KV_HEADS, most, "the same in all layers")),
        }
    }

    fn has_convolutions(&self) -> bool {
        self.family.keys.contains(&"shortconv.l_cache")
    }

    /// Whether a layer attends.
    fn attends(&self, layer: usize) -> bool {
        match self.gguf.value(&self.key(KV_HEADS)) {
            Some(Value::Array(array)) => {
                array.get(layer).is_some_and(|count| count.unsigned() != Some(0))
            }
            _ => true,
        }
    }

    fn head_dim(&self, hidden_size: usize, heads: usize) -> Result<usize, Error> {
        let head_dim = match self.number("attention.key_length", 1, 4096)? {
            Some(head_dim) => head_dim,
            None if hidden_size.is_multiple_of(heads) => hidden_size / heads,
            None => {
                let expected = "a divisor of the embedding length";
                return Err(self.bad("attention.head_count", heads, expected));
            }
        };
        match self.number("attention.value_length", 1, 4096)? {
            Some(value) if value != head_dim => {
                Err(self.bad("attention.value_length", value, "equal to attention.key_length"))
            }
            _ => Ok(head_dim),
        }
    }

    fn rope_dims(&self, head_dim: usize) -> Result<usize, Error> {
        let dims = self.number("rope.dimension_count", 0, 4096)?.unwrap_or(head_dim);
        if dims > head_dim || dims % 2 != 0 {
            let expected = "even and at most the length of a head";
            return Err(self.bad("rope.dimension_count", dims, expected));
        }
        Ok(dims)
    }

    fn rope(&self, context: usize) -> Result<RopeSpec, Error> {
        const TYPE: &str = "rope.scaling.type";
        const ORIGINAL: &str = "rope.scaling.original_context_length";
        let kind = self.gguf.string(&self.key(TYPE))?.unwrap_or(b"linear");
        let scale = match (kind, self.constant("rope.scaling.factor")?) {
            (b"none", _) => 1.0,
            (b"linear" | b"yarn" | b"longrope", Some(scale)) => scale,
            (b"linear" | b"longrope", None) => self.constant("rope.scale_linear")?.unwrap_or(1.0),
            (b"yarn", None) => self.positive("rope.scaling.factor", None)?,
            _ => return Err(self.unsupported(TYPE)),
        };
        let yarn = kind == b"yarn";
        // Spread-out attention is made up for by larger scores.
        let grown = if yarn && scale > 1.0 { 1.0 + 0.1 * libm::logf(scale) } else { 1.0 };
        Ok(RopeSpec {
            base: self.positive("rope.freq_base", Some(10_000.0))?,
            scale,
            yarn,
            original_context: self.number(ORIGINAL, 1, 1 << 26)?.unwrap_or(context),
            magnitude: grown * self.constant("rope.scaling.attn_factor")?.unwrap_or(1.0),
        })
    }

    fn window_rope(&self, rope: RopeSpec) -> Result<RopeSpec, Error> {
        let Some(windows) = self.family.windows else { return Ok(rope) };
        let base = self.constant("rope.freq_base_swa")?.or(windows.rope_base).unwrap_or(rope.base);
        Ok(match windows.scaled {
            true => RopeSpec { base, ..rope },
            false => RopeSpec { base, scale: 1.0, yarn: false, magnitude: 1.0, ..rope },
        })
    }

    /// What the file says of the constants that a family has defaults for.
    fn constants(&self, spec: &mut Spec) -> Result<(), Error> {
        let mut set = |suffix: &str, place: fn(&mut Spec) -> &mut f32| -> Result<(), Error> {
            if let Some(x) = self.constant(suffix)? {
                *place(spec) = x;
            }
            Ok(())
        };
        set("embedding_scale", |spec| &mut spec.embedding_scale)?;
        set("residual_scale", |spec| &mut spec.residual_scale)?;
        set("attention.scale", |spec| &mut spec.attention_scale)?;
        set("attn_logit_softcapping", |spec| &mut spec.attention_cap)?;
        set("final_logit_softcapping", |spec| &mut spec.logit_cap)?;
        if let Some(divisor) = self.constant("logit_scale")? {
            spec.logit_scale = 1.0 / divisor;
        }
        if let Some(window) = self.number("attention.sliding_window", 0, 1 << 26)?
            && self.family.windows.is_some()
        {
            spec.window = window;
        }
        Ok(())
    }

    fn layers(&self, spec: &mut Spec) -> Result<(), Error> {
        const PATTERN: &str = "attention.sliding_window_pattern";
        // What only says how a model was trained elsewhere, switches the rotation in some families.
        const ROTATES: &str = "rope.scaling.finetuned";
        let (count, unrotated) = (spec.layers, self.family.unrotated);
        let pattern = match self.gguf.value(&self.key(PATTERN)) {
            Some(Value::Array(array)) if array.len() >= count => Some(array),
            Some(Value::Array(array)) => {
                return Err(self.bad(PATTERN, array.len(), "as long as there are layers"));
            }
            _ => None,
        };
        let every = match pattern {
            None => {
                let default = self.family.windows.map_or(0, |windows| windows.every);
                self.number(PATTERN, 0, 4096)?.unwrap_or(default)
            }
            Some(_) => 0,
        };
        let windowed = |layer: usize| match pattern.and_then(|pattern| pattern.get(layer)) {
            Some(Value::Bool(windowed)) => windowed,
            Some(value) => value.unsigned() != Some(0),
            // No number is a multiple of 0.
            None => !(layer + 1).is_multiple_of(every),
        };
        let rotates =
            !self.family.keys.contains(&ROTATES) || self.gguf.bool(&self.key(ROTATES))?.unwrap_or(true);
        let mixed = (0..count).any(|layer| !self.attends(layer));
        if mixed && (spec.convolution == 0 || spec.heads * spec.head_dim != spec.hidden_size) {
            let expected = "in models whose heads are as wide as their hidden state";
            return Err(self.bad("shortconv.l_cache", spec.convolution, expected));
        }
        let bytes = count * size_of::<LayerSpec>();
        let reserved = spec.layer_specs.try_reserve_exact(count);
        reserved.map_err(|_| ModelError::OutOfMemory { bytes })?;
        spec.layer_specs.extend((0..count).map(|layer| LayerSpec {
            attends: self.attends(layer),
            windowed: spec.window > 0 && windowed(layer),
            rotated: rotates && !(layer + 1).is_multiple_of(unrotated),
        }));
        Ok(())
    }

    fn refuse_unsupported(&self) -> Result<(), Error> {
        for suffix in CHANGING_KEYS.iter().filter(|suffix| !self.family.keys.contains(suffix)) {
            match self.gguf.value(&self.key(suffix)) {
                None
                | Some(Value::Unsigned(0) | Value::Signed(0) | Value::Bool(false) | Value::Float(0.0)) =>
                    {}
                Some(_) => return Err(self.unsupported(suffix)),
            }
        }
        // A model that also sees what comes later generates nothing.
        match self.gguf.bool(&self.key("attention.causal"))? {
            Some(false) => Err(self.unsupported("attention.causal")),
            _ => Ok(()),
        }
    }
}

fn missing(key: &str) -> Error {
    GgufError::MissingKey(Name::new(key.as_bytes())).into()
}
