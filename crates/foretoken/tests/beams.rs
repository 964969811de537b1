//! Beam search against `transformers`, on the small GPT-2 of the fixtures; `fixtures/make_beams.py` makes the cases.

use foretoken::formats::safetensors::open_model_dir;
use foretoken::generate::{BeamOptions, Error, Finish, Generator};
use foretoken::kernels::Pool;
use foretoken::model::{load, registry};
use serde_json::Value;
use std::path::Path;

#[test]
fn the_texts_and_scores_of_transformers() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/gpt2");
    let config: Value = serde_json::from_slice(&std::fs::read(dir.join("config.json")).unwrap()).unwrap();
    let model = registry::from_config(&config).unwrap();
    let weights = load(model.params(), &open_model_dir(&dir).unwrap()).unwrap();
    let cases: Vec<Value> = serde_json::from_slice(&std::fs::read(dir.join("beams.json")).unwrap()).unwrap();
    let ids = |value: &Value| -> Vec<u32> {
        let ids = value.as_array().unwrap().iter();
        ids.map(|id| id.as_u64().unwrap() as u32).collect()
    };
    let (mut ended, mut full) = (0, 0);
    for threads in [1, 3] {
        let pool = Pool::new(threads).unwrap();
        let mut generator = Generator::new(&*model, &pool, &weights).unwrap();
        for case in &cases {
            generator.prompt(&ids(&case["prompt"]), None).unwrap();
            let end = case["end"].as_u64().unwrap() as u32;
            let options = BeamOptions {
                beams: case["beams"].as_u64().unwrap() as usize,
                length_penalty: case["length_penalty"].as_f64().unwrap() as f32,
                max_tokens: case["max_tokens"].as_u64().unwrap() as usize,
                end: vec![end],
                vocab_size: usize::MAX,
            };
            let found = generator.beam_search(&options).unwrap();
            let want: Vec<Vec<u32>> = case["texts"].as_array().unwrap().iter().map(ids).collect();
            let texts: Vec<Vec<u32>> = found.iter().map(|beam| beam.ids.clone()).collect();
            assert_eq!(texts, want, "{case}");
            for (beam, score) in found.iter().zip(case["scores"].as_array().into_iter().flatten()) {
                let score = score.as_f64().unwrap();
                assert!(
                    (beam.score - score).abs() < 1e-4 * (1.0 + score.abs()),
                    "{beam:?}, want {score}"
                );
            }
            for beam in &found {
                match beam.finish {
                    Finish::End(id) => {
                        assert_eq!(id, end);
                        ended += 1;
                    }
                    _ => {
                        assert_eq!(beam.ids.len(), options.max_tokens);
                        full += 1;
                    }
                }
            }
            // Searching twice finds the same, and leaves the prompt what it was.
            assert_eq!(generator.beam_search(&options).unwrap(), found);
        }
        let bad = BeamOptions {
            beams: 65,
            length_penalty: 1.0,
            max_tokens: 3,
            end: vec![],
            vocab_size: 23,
        };
        assert!(matches!(
            generator.beam_search(&bad),
            Err(Error::Sampling { field: "beams", .. })
        ));
        // The context of 16 ends a text, too: its last token is never read.
        generator.prompt(&[1; 12], None).unwrap();
        let long = BeamOptions {
            beams: 3,
            max_tokens: 100,
            ..bad
        };
        let found = generator.beam_search(&long).unwrap();
        assert!(found.len() == 3 && found.iter().all(|beam| beam.ids.len() == 5));
    }
    assert!(ended > 20 && full > 20, "{ended} ended, {full} full");
}
