//! Hyperparameters, read from the metadata and checked.

use crate::arch::{Family, RopeLayout, UNSUPPORTED_KEYS, family};
use crate::attention::MAX_GROUP;
use crate::error::{Error, GgufError, ModelError, Name};
use crate::gguf::{Gguf, Value};

/// Shapes and constants of a decoder.
#[derive(Debug, Clone, PartialEq)]
pub struct Spec {
    /// The family's name.
    pub architecture: &'static str,
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
    /// Which elements are rotated together.
    pub rope_layout: RopeLayout,
    /// Elements of a head that are rotated.
    pub rope_dims: usize,
    /// Base of the rotation's frequencies.
    pub rope_base: f32,
    /// What positions are divided by (linear scaling; 1 without).
    pub rope_scale: f32,
    /// Whether queries, keys and values have biases.
    pub qkv_bias: bool,
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
        let kv_heads = keys.number("attention.head_count_kv", 1, 4096)?.unwrap_or(heads);
        if heads % kv_heads != 0 || heads / kv_heads > MAX_GROUP {
            return Err(keys.bad(
                "attention.head_count_kv",
                kv_heads,
                "a divisor of the number of heads",
            ));
        }
        let head_dim = match keys.number("attention.key_length", 1, 4096)? {
            Some(head_dim) => head_dim,
            None if hidden_size % heads == 0 => hidden_size / heads,
            None => {
                return Err(keys.bad(
                    "attention.head_count",
                    heads,
                    "a divisor of the embedding length",
                ));
            }
        };
        if let Some(value) = keys.number("attention.value_length", 1, 4096)?
            && value != head_dim
        {
            return Err(keys.bad("attention.value_length", value, "equal to attention.key_length"));
        }
        let rope_dims = keys.number("rope.dimension_count", 0, 4096)?.unwrap_or(head_dim);
        if rope_dims > head_dim || rope_dims % 2 != 0 {
            return Err(keys.bad(
                "rope.dimension_count",
                rope_dims,
                "even and at most the length of a head",
            ));
        }
        Ok(Spec {
            architecture: family.name,
            hidden_size,
            layers: keys.required("block_count", 1, 4096)?,
            heads,
            kv_heads,
            head_dim,
            ffn_size: keys.required("feed_forward_length", 1, 1 << 22)?,
            context: keys.required("context_length", 1, 1 << 26)?,
            norm_epsilon: keys.positive("attention.layer_norm_rms_epsilon", None)?,
            rope_layout: family.rope,
            rope_dims,
            rope_base: keys.positive("rope.freq_base", Some(10_000.0))?,
            rope_scale: keys.rope_scale()?,
            qkv_bias: family.qkv_bias,
        })
    }
}

/// The keys of one family.
struct Keys<'k, 'h> {
    gguf: &'k Gguf<'h>,
    family: &'static Family,
}

type Key = heapless::String<96>;

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

    fn rope_scale(&self) -> Result<f32, Error> {
        let key = self.key("rope.scaling.type");
        match self.gguf.string(&key)? {
            None | Some(b"none") => match self.gguf.f32(&self.key("rope.scale_linear"))? {
                None => Ok(1.0),
                Some(_) => self.positive("rope.scale_linear", None),
            },
            Some(b"linear") => self.positive("rope.scaling.factor", None),
            Some(_) => Err(ModelError::Unsupported { key: Name::new(key.as_bytes()) }.into()),
        }
    }

    fn refuse_unsupported(&self) -> Result<(), Error> {
        for suffix in UNSUPPORTED_KEYS {
            let key = self.key(suffix);
            match self.gguf.value(&key) {
                None
                | Some(Value::Unsigned(0) | Value::Signed(0) | Value::Bool(false) | Value::Float(0.0)) =>
                    {}
                Some(_) => return Err(ModelError::Unsupported { key: Name::new(key.as_bytes()) }.into()),
            }
        }
        Ok(())
    }
}

fn missing(key: &str) -> Error {
    GgufError::MissingKey(Name::new(key.as_bytes())).into()
}
