//! `foretoken pull` from a hub on this machine, and the pulled model by its name.

use crate::common::{Object, Place, failure, object, success};
use crate::server::{Answer, Request, Server};
use foretoken::formats::safetensors::{self, INDEX, MODEL, Safetensors, Tensor};
use std::collections::BTreeMap;
use std::process::Command;

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

type Files = BTreeMap<String, Vec<u8>>;

/// A hub with one repository, mina/tiny. Its tags are no sums: sums are for the tests of the crate `foretoken-hub`.
fn hub(files: Files, spoil: impl Fn(&Request, Answer) -> Answer + Send + Sync + 'static) -> Server {
    Server::start(move |request| {
        if request.path.starts_with("/api/models/mina/tiny/revision/main") {
            let siblings: Vec<_> = files
                .iter()
                .map(|(name, bytes)| serde_json::json!({ "rfilename": name, "size": bytes.len() }))
                .collect();
            let listing = serde_json::json!({ "sha": COMMIT, "siblings": siblings });
            return Answer::new(200, listing.to_string());
        }
        let name = request.path.strip_prefix(&format!("/mina/tiny/resolve/{COMMIT}/"));
        match name.and_then(|name| Some((name, files.get(name)?))) {
            Some((name, bytes)) => {
                let answer =
                    Answer::part(request, bytes).with("ETag", format!("\"tag-{}\"", name.replace(['.', '/'], "-")));
                spoil(request, answer)
            }
            None => Answer::new(404, ""),
        }
    })
}

fn same(_: &Request, answer: Answer) -> Answer {
    answer
}

/// A model as `foretoken train` leaves it, with what repositories hold besides.
fn repository(place: &Place) -> Files {
    place.ok("train --config tiny.toml --out run --quiet");
    let mut files: Files = [
        "config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "generation_config.json",
        MODEL,
    ]
    .map(|name| {
        (
            name.to_owned(),
            std::fs::read(place.path("run/latest").join(name)).unwrap(),
        )
    })
    .into();
    for name in [
        "README.md",
        "pytorch_model.bin",
        "onnx/model.onnx",
        "model.fp16.safetensors",
    ] {
        files.insert(name.into(), b"not to be fetched".into());
    }
    files
}

fn pull(place: &Place, server: &Server, args: &str) -> Command {
    let mut command = place.command(&format!("pull {args}"));
    command.env("HF_ENDPOINT", server.url()).env("NO_PROXY", "127.0.0.1");
    command
}

fn pulled(place: &Place, server: &Server, args: &str) -> String {
    success(args, pull(place, server, args).output().unwrap()).0
}

fn received(place: &Place, server: &Server, args: &str) -> Object {
    object(&pulled(place, server, &format!("{args} --json")))
}

#[test]
fn a_pulled_model_is_found_by_its_name_without_a_network() {
    let place = Place::new();
    let files = repository(&place);
    let server = hub(files, same);
    let directory = pulled(&place, &server, "mina/tiny");
    let snapshot = place.path("hf/hub/models--mina--tiny/snapshots").join(COMMIT);
    assert_eq!(directory, format!("{}\n", snapshot.display()));
    let mut names: Vec<String> = std::fs::read_dir(&snapshot)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    let expected = [
        "config.json",
        "generation_config.json",
        MODEL,
        "tokenizer.json",
        "tokenizer_config.json",
    ];
    assert_eq!(names, expected);
    // Nothing comes a second time.
    let again = received(&place, &server, "mina/tiny@main");
    assert_eq!(
        (&again["received_bytes"], &again["commit"]),
        (&0.into(), &COMMIT.into())
    );
    assert_eq!(again["files"].as_array().unwrap().len(), 5);
    drop(server);
    let text = |model: &str| place.ok(&format!("generate --max-tokens 40 --model {model} Mina"));
    let expected = text("run");
    for name in [
        "mina/tiny",
        "mina/tiny@main",
        &format!("mina/tiny@{COMMIT}"),
        directory.trim(),
    ] {
        assert_eq!(text(name), expected, "{name}");
    }
    assert!(place.ok("size --model mina/tiny").contains("7,936 parameters"));
    let ids = |model: &str| place.ok(&format!("tokenizer encode --model {model} Mina"));
    assert_eq!(ids("mina/tiny"), ids("run"));
    let error = place.error("generate --model mina/tiny@v2 Mina");
    assert!(error.contains("`foretoken pull mina/tiny@v2`"), "{error}");
    // A path of that name is meant before the name.
    std::fs::create_dir_all(place.path("mina/tiny")).unwrap();
    let error = place.error("generate --model mina/tiny Mina");
    assert!(error.contains("mina/tiny holds no model"), "{error}");
}

#[test]
fn shards_are_those_that_the_index_names() {
    let place = Place::new();
    let mut files = repository(&place);
    files.remove(MODEL);
    let whole = Safetensors::open(place.path("run/latest").join(MODEL)).unwrap();
    let names: Vec<&str> = whole.names().collect();
    let mut weight_map = serde_json::Map::new();
    for (n, part) in names.chunks(names.len() / 2 + 1).enumerate() {
        let shard = format!("part {n}.safetensors");
        let floats = part.iter().map(|name| {
            let view = whole.tensor(name).unwrap();
            let mut floats = vec![0.0; view.shape.iter().product()];
            view.read_f32(&mut floats).unwrap();
            (*name, view.shape.to_vec(), floats)
        });
        let floats: Vec<_> = floats.collect();
        let tensors: Vec<_> = floats
            .iter()
            .map(|(name, shape, floats)| Tensor::f32(name, shape, floats))
            .collect();
        let mut bytes = Vec::new();
        safetensors::write(&mut bytes, &tensors, &[]).unwrap();
        files.insert(shard.replace(' ', "-"), bytes);
        for name in part {
            weight_map.insert((*name).into(), shard.replace(' ', "-").into());
        }
    }
    let index = |map: &serde_json::Map<_, _>| serde_json::json!({ "weight_map": map }).to_string().into_bytes();
    files.insert(INDEX.into(), index(&weight_map));
    // Of another model in the same repository.
    files.insert("model-00001-of-00001.safetensors".into(), b"not to be fetched".into());
    let server = hub(files.clone(), same);
    assert_eq!(pulled(&place, &server, "mina/tiny --to here"), "here\n");
    assert!(place.exists("here/part-1.safetensors") && !place.exists("here/model-00001-of-00001.safetensors"));
    assert!(!place.exists("hf"));
    let text = |model: &str| place.ok(&format!("generate --max-tokens 40 --model {model} Mina"));
    assert_eq!(text("here"), text("run"));
    pulled(&place, &server, "mina/tiny");
    assert_eq!(text("mina/tiny"), text("run"));
    // An index that leads elsewhere.
    weight_map.insert("x".into(), "../../../evil".into());
    files.insert(INDEX.into(), index(&weight_map));
    let server = hub(files, same);
    let output = pull(&place, &server, "mina/tiny --to there").output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(1) && output.stdout.is_empty(), "{said}");
    assert!(
        said.contains("evil") && said.contains("not a plain file name"),
        "{said}"
    );
    assert!(server.asked().iter().all(|request| !request.path.contains("evil")));
}

#[test]
fn ggufs_are_chosen_and_pickles_refused() {
    let place = Place::new();
    let files: Files = ["README.md", "tiny-q4_0.gguf", "sub/tiny-q8_0.gguf", "pytorch_model.bin"]
        .map(|name| (name.to_owned(), vec![b'x'; 2048]))
        .into();
    let server = hub(files, same);
    let error = |args: &str| {
        let output = pull(&place, &server, args).output().unwrap();
        let code = output.status.code().unwrap();
        (code, failure(args, output))
    };
    let (code, said) = error("mina/tiny");
    let list = "choose one with --file NAME, from sub/tiny-q8_0.gguf (2.0 KiB), tiny-q4_0.gguf (2.0 KiB)";
    assert!(code == 1 && said.contains(list), "{said}");
    let path = pulled(&place, &server, "mina/tiny --file sub/tiny-q8_0.gguf");
    assert!(path.ends_with("/sub/tiny-q8_0.gguf\n"), "{path}");
    assert_eq!(std::fs::read(path.trim()).unwrap().len(), 2048);
    for (args, expected, words) in [
        ("mina/tiny --file pytorch_model.bin", 2, "pickle"),
        (
            "mina/tiny --file nosuch.gguf",
            1,
            "it holds sub/tiny-q8_0.gguf, tiny-q4_0.gguf, README.md",
        ),
        ("mina/tiny --file ../../x", 1, "leads out of its directory"),
        ("mina/other", 1, "no model mina/other"),
    ] {
        let (code, said) = error(args);
        assert!(code == expected && said.contains(words), "{args}: {code} {said}");
    }
    for bad in ["", "a/b/c", "../a", "a/b@", "a/b@../x"] {
        let output = place.command("pull").arg(bad).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{bad}");
        assert!(
            String::from_utf8_lossy(&output.stderr).contains("cannot be the name of a"),
            "{bad}"
        );
    }
    for (variable, value) in [("HF_ENDPOINT", "huggingface.co"), ("HF_TOKEN", "a\nb")] {
        let output = pull(&place, &server, "mina/tiny")
            .env(variable, value)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2));
        assert!(failure(variable, output).contains(variable));
    }
}

#[test]
#[cfg(unix)]
fn ctrl_c_keeps_what_came() {
    use crate::common::signal;
    use std::process::Stdio;
    use std::time::{Duration, Instant};
    let place = Place::new();
    let files: Files = [("big.gguf".to_owned(), vec![7; 1 << 20])].into();
    let server = hub(files.clone(), |request, answer| match &*request.method {
        "GET" => Answer {
            cut: Some(400_000),
            stall: true,
            ..answer
        },
        _ => answer,
    });
    let mut command = pull(&place, &server, "mina/tiny --file big.gguf");
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let part = place.path("hf/hub/models--mina--tiny/blobs/tag-big-gguf.incomplete");
    let size = || std::fs::metadata(&part).map_or(0, |part| part.len());
    let begun = Instant::now();
    while size() < 400_000 {
        assert!(begun.elapsed() < Duration::from_secs(30), "{}", size());
        std::thread::sleep(Duration::from_millis(10));
    }
    signal(&child, "INT");
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), size()), (Some(130), 400_000));
    assert!(output.stdout.is_empty() && String::from_utf8_lossy(&output.stderr).contains("goes on from there"));
    let server = hub(files, same);
    let again = received(&place, &server, "mina/tiny --file big.gguf");
    assert_eq!(again["received_bytes"], (1 << 20) - 400_000);
    let path = again["files"][0]["path"].as_str().unwrap();
    assert_eq!(std::fs::read(path).unwrap(), vec![7; 1 << 20]);
}
