//! What is measured, and how figures of several rounds become one.

/// One measure.
#[derive(Debug)]
pub(super) struct Measure {
    /// In the JSON of both programs.
    pub(super) key: &'static str,
    pub(super) title: &'static str,
    /// What a figure is divided by for people.
    pub(super) unit: f64,
    /// Whether more is better.
    pub(super) more: bool,
    /// Whether each token reads all weights, so that memory is the roof.
    pub(super) decode: bool,
}

/// Every measure, in the table's order.
pub(super) static MEASURES: [Measure; 7] = [
    Measure { key: "prefill_128", title: "prefill 128, tok/s", unit: 1.0, more: true, decode: false },
    Measure { key: "prefill_512", title: "prefill 512, tok/s", unit: 1.0, more: true, decode: false },
    Measure { key: "decode", title: "decode, tok/s", unit: 1.0, more: true, decode: true },
    Measure { key: "decode_at", title: "decode late, tok/s", unit: 1.0, more: true, decode: true },
    Measure {
        key: "first_token_ms",
        title: "first token after 100, ms",
        unit: 1.0,
        more: false,
        decode: false,
    },
    Measure { key: "load_ms", title: "load, ms", unit: 1.0, more: false, decode: false },
    Measure { key: "peak_bytes", title: "peak memory, MB", unit: 1e6, more: false, decode: false },
];

/// A figure for each measure that a run gave.
pub(super) type Figures = [Option<f64>; MEASURES.len()];

impl Measure {
    /// How many times better the first figure is than the second.
    pub(super) fn ratio(&self, own: f64, peer: f64) -> f64 {
        if self.more { own / peer } else { peer / own }
    }
}

/// The figures in a program's JSON.
pub(super) fn figures(json: &str) -> Figures {
    MEASURES.each_ref().map(|measure| number(json, measure.key))
}

/// The number behind a key of a flat JSON object.
pub(crate) fn number(json: &str, key: &str) -> Option<f64> {
    let (_, rest) = json.split_once(&format!("\"{key}\""))?;
    let value = rest.trim_start().strip_prefix(':')?.trim_start();
    value.split([',', '}']).next()?.trim().parse().ok()
}

/// The middle of some figures.
pub(super) fn median(mut figures: Vec<f64>) -> Option<f64> {
    figures.sort_by(f64::total_cmp);
    let (low, high) = (figures.len().checked_sub(1)? / 2, figures.len() / 2);
    Some((figures.get(low)? + figures.get(high)?) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found_by_their_whole_key() {
        let json = r#"{"decode_at": 1.5, "decode":20,"kernels":"avx2","peak_bytes" : 3e6 }"#;
        assert_eq!(number(json, "decode"), Some(20.0));
        assert_eq!(number(json, "decode_at"), Some(1.5));
        assert_eq!(number(json, "peak_bytes"), Some(3e6));
        assert_eq!(number(json, "kernels"), None);
        assert_eq!(number(json, "load_ms"), None);
    }

    #[test]
    fn the_median_lies_in_the_middle() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median(Vec::new()), None);
    }

    #[test]
    fn a_ratio_above_one_is_better() {
        let [speed, .., memory] = &MEASURES;
        assert_eq!(speed.ratio(30.0, 20.0), 1.5);
        assert_eq!(memory.ratio(30.0, 20.0), 20.0 / 30.0);
    }
}
