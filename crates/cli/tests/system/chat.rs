//! `chat` in a pipe: each line a turn, and a conversation that is remembered, kept and gone on with.

use crate::common::{Object, Place, failure, object, success};

const CHAT: &str = "chat --model run --max-tokens 4 --threads 1";

fn place() -> Place {
    let place = Place::new();
    place.ok("train --config tiny.toml --steps 1 --out run --quiet");
    place
}

fn turns(place: &Place, args: &str, input: &str) -> Vec<Object> {
    let (out, _) = success(args, place.fed(&format!("{CHAT} --json {args}"), input.as_bytes()));
    out.lines().map(object).collect()
}

#[test]
fn each_line_of_a_pipe_is_a_turn_that_reads_only_what_is_new() {
    let place = place();
    let all = turns(&place, "", "ab\n\ncd\n/reset\nab\n");
    let field = |i: usize, name: &str| all[i][name].as_u64().unwrap();
    assert_eq!(all.len(), 3, "an empty line is no turn");
    assert_eq!((&all[0]["question"], &all[1]["question"]), (&"ab".into(), &"cd".into()));
    // A tokeniser of bytes, and the plain template: the question and a line feed.
    assert_eq!((field(0, "prompt_tokens"), field(0, "cached_tokens")), (3, 0));
    assert!(
        field(1, "prompt_tokens") > 6 && field(1, "cached_tokens") >= 3,
        "{:?}",
        all[1]
    );
    assert_eq!(field(2, "prompt_tokens"), 3, "/reset forgets");
    // The turn's number draws, so the same beginning gives the same answer.
    assert_eq!(all[0]["answer"], all[2]["answer"]);
    // Without --json the answers alone are on standard output.
    let (out, error) = success(CHAT, place.fed(CHAT, b"ab\ncd\n"));
    let answers = format!(
        "{}\n{}\n",
        all[0]["answer"].as_str().unwrap(),
        all[1]["answer"].as_str().unwrap()
    );
    assert_eq!((out, error.as_str()), (answers, ""));
}

#[test]
fn a_conversation_is_kept_and_gone_on_with() {
    let place = place();
    let all = turns(&place, "", "ab\n/save kept.json\ncd\n");
    let gone_on = turns(&place, "", "/load kept.json\ncd\n");
    assert_eq!(gone_on[0]["answer"], all[1]["answer"], "the same seed and words");
    let kept = std::fs::read_to_string(place.path("kept.json")).unwrap();
    let messages = object(kept.trim_end())["messages"].clone();
    assert_eq!(messages[0], serde_json::json!({ "role": "user", "content": "ab" }));
    assert_eq!(messages.as_array().unwrap().len(), 2);
    // What there is is not written over.
    let output = place.fed(CHAT, b"/save kept.json\n");
    assert!(failure(CHAT, output).contains("kept.json is there already"));
    assert_eq!(std::fs::read_to_string(place.path("kept.json")).unwrap(), kept);
}

#[test]
fn several_lines_a_system_and_what_is_wrong() {
    let place = place();
    let all = turns(&place, "--system S", "a\\\nb\n\"\"\"\nc\nd\n\"\"\"\n//x\n/system\ny\n");
    let asked: Vec<_> = all.iter().map(|turn| turn["question"].as_str().unwrap()).collect();
    assert_eq!(asked, ["a\nb", "c\nd", "/x", "y"]);
    assert_eq!(all[0]["prompt_tokens"], 6, "S, a line feed, three bytes, a line feed");
    assert_eq!(all[3]["prompt_tokens"], 2, "/system without text has none");
    for (args, input, code, says) in [
        ("", &b"/nosuch\n"[..], 2, "/nosuch is no order"),
        ("", b"/temperature -1\n", 2, "temperature"),
        ("", b"/load nosuch.json\n", 1, "nosuch.json"),
        ("", b"\xff\xfe\n", 2, "UTF-8"),
        ("--temperature -1", b"x\n", 2, "temperature"),
    ] {
        let output = place.fed(&format!("{CHAT} {args}"), input);
        assert_eq!(output.status.code(), Some(code), "{says}");
        let error = failure(args, output);
        assert!(error.contains(says), "{error}");
    }
    place.write("bad.json", r#"{"messages": [{"role": "robot", "content": "x"}]}"#);
    let error = failure("", place.fed(CHAT, b"/load bad.json\n"));
    assert!(error.contains("bad.json") && error.contains("robot"), "{error}");
}
