//! Logits against a forward pass in double precision over the dequantised weights, and against llama.cpp's distance to
//! it; greedy text against llama.cpp's.

mod common;

use std::collections::BTreeMap;

use picolm_core::ops::argmax;
use picolm_core::platform::Platform;
use picolm_core::session::{Limits, Session};
use picolm_core::source::SliceSource;

/// How far picolm's and llama.cpp's logits are from the exact ones: the mean of the means, and the largest difference.
#[derive(Default)]
struct Distance {
    rows: f64,
    mean: f64,
    max: f64,
    llamacpp_mean: f64,
    llamacpp_max: f64,
}

#[test]
fn logits_are_as_near_to_the_exact_ones_as_llamacpp_s() {
    let mut formats: BTreeMap<(&str, &str), Distance> = BTreeMap::new();
    for (name, bytes, expected) in common::models() {
        let model = common::load(&bytes);
        let format = model.layers[0].up.matrix.format.name;
        let distance = formats.entry((model.spec.architecture, format)).or_default();
        for row in &expected.rows {
            let source = SliceSource::new(&bytes);
            let mut session =
                Session::new(&model, source, Platform::default(), Limits::default()).unwrap();
            let logits = session.evaluate(&row.tokens).unwrap();
            assert_eq!(logits.len(), row.logits.len(), "{name}");
            let differences =
                logits.iter().zip(&row.logits).map(|(got, exact)| (f64::from(*got) - exact).abs());
            distance.rows += 1.0;
            distance.mean += differences.clone().sum::<f64>() / logits.len() as f64;
            distance.max = differences.fold(distance.max, f64::max);
            distance.llamacpp_mean += row.llamacpp_mean_abs_diff;
            distance.llamacpp_max = distance.llamacpp_max.max(row.llamacpp_max_abs_diff);
        }
    }
    println!("family   format   mean: picolm llama.cpp   max: picolm llama.cpp");
    for ((family, format), d) in &formats {
        let (mean, llamacpp_mean) = (d.mean / d.rows, d.llamacpp_mean / d.rows);
        println!(
            "{family:<8} {format:<8} {mean:>12.5} {llamacpp_mean:>9.5} {:>13.5} {:>9.5}",
            d.max, d.llamacpp_max
        );
    }
    for (name, d) in &formats {
        if name.1 == "F32" {
            assert!(d.max <= 1e-3, "{name:?}: {}", d.max);
        } else {
            assert!(d.mean <= d.llamacpp_mean, "{name:?}: mean {} {}", d.mean, d.llamacpp_mean);
            assert!(d.max <= 1.5 * d.llamacpp_max, "{name:?}: largest {} {}", d.max, d.llamacpp_max);
        }
    }
}

#[test]
fn greedy_text_is_llamacpp_s_while_its_lead_exceeds_the_noise() {
    let mut compared = 0;
    for (name, bytes, expected) in common::models() {
        let model = common::load(&bytes);
        for row in &expected.rows {
            let source = SliceSource::new(&bytes);
            let mut session =
                Session::new(&model, source, Platform::default(), Limits::default()).unwrap();
            // Two logits may each be wrong by the largest difference seen, here and there.
            let noise = (4.0 * row.llamacpp_max_abs_diff).max(1e-3);
            let mut logits = session.evaluate(&row.tokens).unwrap();
            for (step, (&token, &gap)) in row.greedy.iter().zip(&row.gaps).enumerate() {
                if gap <= noise {
                    break;
                }
                assert_eq!(argmax(logits), Some(token as usize), "{name}: {:?} step {step}", row.prompt);
                compared += 1;
                logits = session.evaluate(&[token]).unwrap();
            }
        }
    }
    assert!(compared > 100, "only {compared} steps were clear enough to compare");
}
