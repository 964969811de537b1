use super::rows::{CsvPairs, JsonTalks};
use super::*;

fn fields() -> Fields {
    Fields::new(&ConversationOptions::default())
}

fn csv(bytes: impl AsRef<[u8]>) -> Result<Vec<Conversation>, String> {
    let pairs = CsvPairs::new(bytes.as_ref(), "x.csv".into(), fields());
    pairs.collect::<Result<_, _>>().map_err(|error| error.to_string())
}

fn json(text: &str) -> Result<Vec<Conversation>, String> {
    let talks = JsonTalks::new(text.as_bytes(), "x.jsonl".into(), fields());
    talks.collect::<Result<_, _>>().map_err(|error| error.to_string())
}

#[test]
fn csv_as_people_write_it() {
    let text =
        "\u{FEFF}label,Q,A\r\n0,\"Say \"\"hi\"\", please\",\"line one\r\nline two\"\r\n\r\n1,, \r\n2,질문?,답!\r\n";
    let expected = vec![
        Conversation::pair("Say \"hi\", please", "line one\r\nline two"),
        Conversation::pair("질문?", "답!"),
    ];
    assert_eq!(csv(text), Ok(expected));
    assert_eq!(
        csv("instruction,input,output\nAdd,1 2,3\nName one,,x\n"),
        Ok(vec![
            Conversation::pair("Add\n1 2", "3"),
            Conversation::pair("Name one", "x")
        ])
    );
}

#[test]
fn csv_that_is_wrong_is_said_with_its_line() {
    for (text, expected) in [
        (
            "Q,B\nx,y\n",
            "x.csv:1: no fields of question and answer; there is `Q`, `B`",
        ),
        ("Q,A\n\"a\nb\",c\nd,\n", "x.csv:4: the answer, field `A`, is empty"),
        ("Q,A\nb,c\n , d\n", "x.csv:3: the question, field `Q`, is empty"),
        ("Q,A\nb,c\nd\n", "x.csv:3: 1 columns, the first line has 2"),
        ("Q,A\n\"b,c\nd,e\n", "x.csv:2: 1 columns"),
    ] {
        let error = csv(text).unwrap_err();
        assert!(error.starts_with(expected), "{error}");
    }
    let error = csv(b"Q,A\na,b\nc,\xFF\xFE\n").unwrap_err();
    assert!(error.starts_with("x.csv:3: column 2 is not UTF-8"), "{error}");
    assert!(csv(b"Q,A\na,\0\n").unwrap_err().contains("NUL byte at byte 6"));
}

#[test]
fn json_in_its_forms() {
    let expected = Ok(vec![Conversation::pair("q?", "a!")]);
    for row in [
        r#"{"prompt": "q?", "completion": "a!"}"#,
        r#"{"question": "q?", "answer": "a!", "id": 7}"#,
        r#"{"instruction": "q?", "input": "", "output": "a!"}"#,
        r#"{"messages": [{"role": "user", "content": "q?"}, {"role": "assistant", "content": "a!"}]}"#,
        r#"{"conversations": [{"from": "human", "value": "q?"}, {"from": "gpt", "value": "a!"}]}"#,
        r#"{"prompt": [{"role": "user", "content": "q?"}], "completion": [{"role": "assistant", "content": "a!"}]}"#,
        r#"{"질문": "q?", "답변": "a!"}"#,
    ] {
        assert_eq!(json(row), expected, "{row}");
        assert_eq!(json(&format!("\u{FEFF}\r\n{row}\r\n\n")), expected, "{row}");
    }
    let turns = r#"{"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": ""},
        {"role": "assistant", "content": "1"}, {"role": "user", "content": "2"}, {"role": "assistant", "content": "3"}]}"#;
    let talk = json(&turns.replace('\n', "")).unwrap().remove(0);
    let said: Vec<(Role, &str)> = talk.messages.iter().map(|m| (m.role, m.content.as_str())).collect();
    use Role::{Assistant, System, User};
    assert_eq!(
        said,
        [
            (System, "s"),
            (User, ""),
            (Assistant, "1"),
            (User, "2"),
            (Assistant, "3")
        ]
    );
}

#[test]
fn json_that_is_wrong_is_said_with_its_line() {
    let first = "{\"q\": \"x\", \"a\": \"y\"}\n";
    for (row, expected) in [
        (r#"{"q": "x"}"#, "no fields of question and answer; there is `q`"),
        (r#"{"q": "x", "a": null}"#, "field `a` is null, expected a string"),
        (r#"{"q": "x", "a": ""}"#, "the answer, field `a`, is empty"),
        (r#"{"q": "x", "a": "y""#, "expected a JSON object on one line"),
        (
            r#"{"messages": "x"}"#,
            "field `messages` is a string, expected a list of messages",
        ),
        (r#"{"messages": []}"#, "0 messages and none of the assistant's"),
        (
            r#"{"messages": [{"role": "user", "content": "x"}, {"role": "tool", "content": "y"}]}"#,
            "message 2 of `messages`: role `tool`; expected system, user or assistant",
        ),
        (
            r#"{"messages": [{"role": "assistant", "content": null}]}"#,
            "message 1 of `messages`: `content` is null, expected a string",
        ),
        (
            r#"{"conversations": [{"role": "user", "value": "x"}]}"#,
            "message 1 of `conversations`: no `from`; there is `role`, `value`",
        ),
        (
            r#"{"messages": [{"role": "assistant", "content": " "}]}"#,
            "message 1 of `messages`: the answer is empty",
        ),
    ] {
        let error = json(&format!("{first}{row}\n")).unwrap_err();
        assert!(error.starts_with(&format!("x.jsonl:2: {expected}")), "{error}");
    }
}

#[test]
fn the_format_is_guessed_from_the_first_row() {
    let folder = tempfile::tempdir().unwrap();
    let guess = |name: &str, text: &str, options: &ConversationOptions| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        let sources = find_sources(&[path.to_str().unwrap()], None).unwrap();
        DataFormat::guess(&sources, options).unwrap().to_string()
    };
    let plain = ConversationOptions::default();
    assert_eq!(guess("a.csv", "Q,A\nx,y\n", &plain), "qa");
    assert_eq!(guess("b.csv", "text\nx\n", &plain), "text");
    assert_eq!(guess("c.txt", "Q,A\nx,y\n", &plain), "text");
    assert_eq!(guess("d.jsonl", "\n{\"text\": \"x\"}\n", &plain), "text");
    assert_eq!(guess("e.jsonl", "\n{\"messages\": []}\n", &plain), "chat");
    assert_eq!(
        guess("f.jsonl", "{\"prompt\": \"x\", \"completion\": \"y\"}\n", &plain),
        "qa"
    );
    let named = ConversationOptions {
        question_field: Some("x".into()),
        answer_field: Some("y".into()),
        format: None,
    };
    assert_eq!(guess("g.csv", "x,y\n1,2\n", &named), "qa");
}

#[test]
fn sources_without_rows_or_conversations() {
    let folder = tempfile::tempdir().unwrap();
    let read = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        let mut talks = Conversations::open(&[path.to_str().unwrap()], &Default::default()).unwrap();
        let error = talks.next().unwrap().unwrap_err();
        assert!(talks.next().is_none());
        error
    };
    assert!(matches!(read("a.txt", "hello"), Error::NoRows { .. }));
    assert!(matches!(read("a.csv", "Q,A\n"), Error::NoText { .. }));
    assert!(matches!(read("a.jsonl", "\n\n"), Error::NoText { .. }));
}

#[test]
fn korean_pairs_of_real_life() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/korean-chatbot.csv");
    if !path.exists() {
        eprintln!("skipped: no {}", path.display());
        return;
    }
    let talks = Conversations::open(&[path.to_str().unwrap()], &Default::default()).unwrap();
    let talks: Vec<Conversation> = talks.collect::<Result<_, _>>().unwrap();
    assert_eq!(talks.len(), 11_823);
    assert_eq!(talks[0], Conversation::pair("12시 땡!", "하루가 또 가네요."));
}
