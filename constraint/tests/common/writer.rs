//! Lets a model write texts that a constraint holds, as the command does it.

use picolm_constraint::Constraint;
use picolm_core::error::Error;
use picolm_core::model::Model;
use picolm_core::platform::Platform;
use picolm_core::sampler::{Sampler, Sampling};
use picolm_core::session::{Limits, Session};
use picolm_core::source::SliceSource;
use picolm_core::tokenizer::{EncodeOptions, Tokenizer};

/// A model with one session, in which each text begins anew.
pub(crate) struct Writer<'m, 'h> {
    tokenizer: &'m Tokenizer<'h>,
    session: Session<'m, 'h, SliceSource<'m>>,
}

impl<'m, 'h> Writer<'m, 'h> {
    pub(crate) fn new(
        model: &'m Model<'h>,
        tokenizer: &'m Tokenizer<'h>,
        file: &'m [u8],
    ) -> Result<Self, Error> {
        let limits = Limits { context: Some(4096), ..Limits::default() };
        let session = Session::new(model, SliceSource::new(file), Platform::default(), limits)?;
        Ok(Writer { tokenizer, session })
    }

    /// A text of at most `budget` tokens after a prompt, drawn from all tokens at temperature 1.5.
    pub(crate) fn write(
        &mut self,
        constraint: &mut Constraint<'_, '_>,
        prompt: &str,
        budget: usize,
        seed: u64,
    ) -> Result<Vec<u8>, Error> {
        let sampling = Sampling { temperature: 1.5, top_p: 1.0, seed, ..Sampling::default() };
        let mut sampler = Sampler::new(sampling, self.tokenizer.len())?;
        let (mut tokens, mut text) = (Vec::new(), Vec::new());
        let options = EncodeOptions { add_special: true, parse_special: false };
        self.tokenizer.encode(prompt.as_bytes(), options, &mut tokens)?;
        self.session.truncate(0);
        self.session.evaluate(&tokens)?;
        constraint.begin(budget)?;
        let mut left = budget;
        while left > 0 && !constraint.is_finished() {
            tokens.clear();
            constraint.forced(left, &mut tokens);
            if tokens.is_empty() {
                tokens.extend(constraint.sample(&mut sampler, self.session.logits(), left));
            }
            for &token in &tokens {
                if self.tokenizer.is_end(token) {
                    return Ok(text);
                }
                constraint.commit(token)?;
                self.tokenizer.decode(token, false, &mut text);
            }
            left -= tokens.len();
            self.session.evaluate(&tokens)?;
        }
        Ok(text)
    }
}
