//! Files of every kind, good and bad.

use std::path::Path;

use proptest::prelude::*;

use super::text::TextPieces;
use super::*;
use crate::{Kind, Tokenizer, Trainer};

/// A folder with these files; their names may hold folders.
fn folder(files: &[(&str, &[u8])]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
    folder
}

fn read(paths: &[&str], fields: &str) -> Result<Vec<Document>, Error> {
    Documents::open(
        paths,
        &DocumentOptions {
            text_field: fields.to_owned(),
            format: None,
        },
    )?
    .collect()
}

/// Reads one file of these bytes.
fn read_file(name: &str, bytes: &[u8], fields: &str) -> Result<Vec<Document>, Error> {
    let folder = folder(&[(name, bytes)]);
    read(&[folder.path().join(name).to_str().unwrap()], fields)
}

fn texts(documents: &[Document]) -> Vec<&str> {
    documents.iter().map(|document| document.text.as_str()).collect()
}

#[track_caller]
fn refused(result: Result<Vec<Document>, Error>, expected: &str) {
    let message = result.unwrap_err().to_string();
    assert!(message.contains(expected), "{message}");
}

#[test]
fn a_text_is_one_document() {
    let documents = read_file("a.txt", "\u{feff}하나\r\n둘\n\n".as_bytes(), "text").unwrap();
    assert_eq!(texts(&documents), ["하나\r\n둘\n\n"]);
    assert_eq!((documents[0].line, documents[0].ends), (1, true));
    assert!(documents[0].source.ends_with("a.txt"));
    // Only the first mark is one.
    assert_eq!(
        texts(&read_file("a", "\u{feff}\u{feff}x".as_bytes(), "").unwrap()),
        ["\u{feff}x"]
    );
}

#[test]
fn folders_and_patterns_are_sorted_and_skip_the_unknown() {
    let files: &[(&str, &[u8])] = &[
        ("b.txt", b"b"),
        ("a/z.md", b"z"),
        ("a/y.TXT", b"y"),
        ("a/x.png", b"\0"),
        ("c.jsonl", b"{\"text\": \"c\"}"),
        ("LICENSE", b"no"),
        (".git/d.txt", b"no"),
        (".e.txt", b"no"),
        ("empty.txt", b""),
    ];
    let folder = folder(files);
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    assert_eq!(texts(&read(&[&at("")], "text").unwrap()), ["y", "z", "b", "c"]);
    assert_eq!(texts(&read(&[&at("**/*.txt")], "text").unwrap()), ["b"]);
    assert_eq!(
        texts(&read(&[&at("*.[jt]*"), &at("a")], "text").unwrap()),
        ["b", "c", "y", "z"]
    );
    assert_eq!(
        texts(&read(&[&at("LICENSE"), &at("b.txt"), &at("b.txt")], "text").unwrap()),
        ["no", "b", "b"]
    );
    refused(read(&[&at("a/x.png")], "text"), "unknown kind of file");
    refused(read(&[&at("*.rs")], "text"), "no text found");
    refused(read(&[&at("[")], "text"), "not a pattern");
    refused(read(&[&at("none.txt")], "text"), "none.txt: ");
    refused(
        read(&[&at("empty.txt")], "text"),
        "empty.txt: empty; there is nothing to learn from",
    );
    refused(read(&[], "text"), "no text found");
}

#[test]
fn a_name_with_brackets_is_itself_first() {
    let folder = folder(&[("[1].txt", b"one")]);
    let path = folder.path().join("[1].txt");
    assert_eq!(texts(&read(&[path.to_str().unwrap()], "").unwrap()), ["one"]);
}

#[test]
fn a_format_overrides_extensions() {
    let folder = folder(&[("a.data", b"{\"text\": \"a\"}"), ("b.txt", b"{\"text\": \"b\"}")]);
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let options = DocumentOptions {
        format: Some(Format::JsonLines),
        ..Default::default()
    };
    let documents: Vec<Document> = Documents::open(&[at("a.data"), at("")], &options)
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    assert_eq!(texts(&documents), ["a", "b"]);
}

#[test]
fn rows_of_jsonl() {
    let bytes = "\u{feff}{\"q\": \"물음\", \"a\": \"답\\n\\ud83d\\ude00\", \"n\": 1}\r\n\n{\"a\": \"\", \"q\": \"x\"}";
    let documents = read_file("a.jsonl", bytes.as_bytes(), "q, a").unwrap();
    assert_eq!(texts(&documents), ["물음\n답\n😀", "x\n"]);
    assert_eq!(
        documents.iter().map(|document| document.line).collect::<Vec<_>>(),
        [1, 3]
    );
    refused(
        read_file("a.jsonl", bytes.as_bytes(), "text"),
        "a.jsonl:1: no field `text`; there is `a`, `n`, `q`",
    );
    refused(
        read_file("a.jsonl", bytes.as_bytes(), "n"),
        "a.jsonl:1: field `n` is a number, expected a string",
    );
    refused(
        read_file("a.jsonl", b"{\"text\": \"a\"}\n[1]\n", "text"),
        "a.jsonl:2: expected a JSON object on one line",
    );
    refused(
        read_file("a.jsonl", b"{\"text\": \"a\"}\n{\"text\": \"\xff\"}\n", "text"),
        "not UTF-8 at byte 24",
    );
    refused(
        read_file("a.jsonl", b"{\"text\": \"a\"}\n\0", "text"),
        "NUL byte at byte 14",
    );
    refused(
        read_file(
            "a.jsonl",
            &[b"{\"text\": ", "[".repeat(100_000).as_bytes()].concat(),
            "text",
        ),
        "a.jsonl:1: ",
    );
    refused(read_file("a.jsonl", b"\n\n", "text"), "nothing to learn from");
}

#[test]
fn rows_of_csv() {
    let bytes = "\u{feff}Q,A,label\r\n\"두\n줄, \"\"인용\"\"\",답,0\r\n\r\n,,\nx,y,1";
    let documents = read_file("a.csv", bytes.as_bytes(), "A,Q").unwrap();
    assert_eq!(texts(&documents), ["답\n두\n줄, \"인용\"", "\n", "y\nx"]);
    assert_eq!(
        documents.iter().map(|document| document.line).collect::<Vec<_>>(),
        [2, 5, 6]
    );
    assert_eq!(texts(&read_file("a.csv", bytes.as_bytes(), "A").unwrap()), ["답", "y"]);
    refused(
        read_file("a.csv", bytes.as_bytes(), "text"),
        "a.csv:1: no field `text`; there is `Q`, `A`, `label`",
    );
    refused(
        read_file("a.csv", b"text,b\n\"x\ny\",1\nz\n", "text"),
        "a.csv:4: 1 columns, the first line has 2",
    );
    refused(
        read_file("a.csv", b"text\nx\n\xff\n", "text"),
        "a.csv:3: column 1 is not UTF-8",
    );
    refused(read_file("a.csv", b"text\nx\n\0\n", "text"), "NUL byte at byte 7");
    refused(read_file("a.csv", b"text\n", "text"), "nothing to learn from");
}

#[test]
fn lines_of_a_long_csv() {
    // Rows of all lengths, so that ends of rows fall everywhere in the buffers of the reader.
    for (mark, end) in [("", "\n"), ("", "\r\n"), ("\u{feff}", "\r\n"), ("\u{feff}", "\n")] {
        let rows: String = (0..5000)
            .map(|i| format!("\"{}\n{}\"{end}", "x".repeat(i % 37), "y".repeat(i % 5)))
            .collect();
        let documents = read_file("a.csv", format!("{mark}text{end}{rows}").as_bytes(), "text").unwrap();
        assert_eq!(documents.len(), 5000);
        for (index, document) in documents.iter().enumerate() {
            assert_eq!(document.line, 2 + 2 * index as u64);
        }
    }
}

/// A reader of one endless row, which must be refused before it fills the memory.
struct Endless(&'static [u8]);

impl Read for Endless {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.0.is_empty() {
            buffer.fill(b'x');
            return Ok(buffer.len());
        }
        self.0.read(buffer)
    }
}

#[test]
fn rows_without_end() {
    let fields = || vec!["text".to_owned()];
    let csv: Result<Vec<_>, _> = CsvRows::new(Endless(b"text\n\"x"), "e".into(), fields()).collect();
    refused(csv, "e:2: row longer than");
    let json: Result<Vec<_>, _> = JsonRows::new(Endless(b"\n{\"text\": \""), "e".into(), fields()).collect();
    refused(json, "e:2: row longer than");
}

#[test]
fn a_text_without_white_space_comes_in_bounded_pieces() {
    let mut pieces = TextPieces::new(Endless("가 나".as_bytes()), "e".into());
    let first = pieces.next().unwrap().unwrap();
    assert_eq!((first.text.as_str(), first.ends), ("가", false));
    let second = pieces.next().unwrap().unwrap();
    assert_eq!((second.text.len(), second.ends), (LARGEST_PIECE, false));
    assert!(second.text.starts_with(" 나x"));
}

#[test]
fn what_is_not_text_is_refused_with_its_place() {
    refused(read_file("a.txt", b"ab\0c", ""), "NUL byte at byte 2");
    refused(read_file("a.txt", b"ab\xffc", ""), "not UTF-8 at byte 2; convert");
    refused(read_file("a.txt", b"\xEF\xBB\xBFab\xea\xb0", ""), "not UTF-8 at byte 5");
    // UTF-16, and Korean in CP949.
    refused(
        read_file("a.txt", b"\xff\xfea\0b\0", ""),
        "NUL byte at byte 3; this is a binary or UTF-16 file",
    );
    refused(read_file("a.txt", b"\xb0\xa1\xb3\xaa", ""), "not UTF-8 at byte 0");
    let far = [vec![b'x'; 3_000_000], b"\n\xff".to_vec()].concat();
    refused(read_file("a.txt", &far, ""), "not UTF-8 at byte 3000001");
}

#[test]
fn reading_ends_after_an_error() {
    let folder = folder(&[("a.txt", b"\0"), ("b.txt", b"b")]);
    let mut documents = Documents::open(&[folder.path().to_str().unwrap()], &DocumentOptions::default()).unwrap();
    assert!(documents.next().unwrap().is_err());
    assert!(documents.next().is_none());
}

#[test]
fn a_large_text_comes_in_pieces_that_encode_as_the_whole() {
    let text: String = (0..200_000)
        .map(|i| format!("줄 {i}, it's  a\n{}", if i % 7 == 0 { "\n \n" } else { "" }))
        .collect();
    assert!(text.len() > 3 << 20);
    let mut trainer = Trainer::new(Kind::Bpe, 600).unwrap();
    trainer.feed(&text[..100_000]);
    let tokenizer = trainer.finish();
    let folder = folder(&[("a.txt", text.as_bytes())]);
    let documents = read(&[folder.path().join("a.txt").to_str().unwrap()], "").unwrap();
    assert!(documents.len() >= 3);
    assert_eq!(texts(&documents).concat(), text);
    for (index, document) in documents.iter().enumerate() {
        assert_eq!(document.ends, index == documents.len() - 1);
        let before = texts(&documents[..index]).concat();
        assert_eq!(document.line, 1 + before.matches('\n').count() as u64);
    }
    let ids: Vec<u32> = documents
        .iter()
        .flat_map(|document| tokenizer.encode(&document.text))
        .collect();
    assert!(ids == tokenizer.encode(&text));
}

#[test]
fn documents_are_joined_by_the_end_token() {
    let tokenizer = Tokenizer::byte();
    let folder = folder(&[("a.txt", b"a"), ("b.csv", b"text\nb\nc\n")]);
    for threads in [1, 2] {
        let documents = Documents::open(&[folder.path().to_str().unwrap()], &DocumentOptions::default()).unwrap();
        let mut ids = Vec::new();
        let sink = |part: &[u32]| -> Result<(), Error> {
            ids.extend_from_slice(part);
            Ok(())
        };
        tokenizer.encode_documents(documents, threads, sink).unwrap();
        assert_eq!(ids, [97, 256, 98, 256, 99, 256]);
    }
}

#[test]
fn fingerprints_follow_the_files() {
    let folder = folder(&[("a.txt", b"a"), ("b.txt", b"b")]);
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let print = |paths: &[String]| sources_fingerprint(&find_sources(paths, None).unwrap()).unwrap();
    let both = print(&[at("")]).unwrap();
    assert_eq!(print(&[at("a.txt"), at("b.txt")]), Some(both));
    assert_ne!(print(&[at("b.txt"), at("a.txt")]), Some(both));
    std::fs::write(at("b.txt"), "bb").unwrap();
    assert_ne!(print(&[at("")]), Some(both));
    assert_eq!(print(&["-".to_owned()]), None);
    assert_eq!(both.to_string().len(), 64);
}

#[test]
fn korean_chat_of_real_life() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/korean-chatbot.csv");
    if !path.exists() {
        eprintln!("skipped: no {}", path.display());
        return;
    }
    let documents = read(&[path.to_str().unwrap()], "Q,A").unwrap();
    assert_eq!(documents.len(), 11_823);
    assert_eq!(documents[0].text, "12시 땡!\n하루가 또 가네요.");
    let mut trainer = Trainer::new(Kind::Bpe, 4096).unwrap();
    documents.iter().for_each(|document| trainer.feed(&document.text));
    let tokenizer = trainer.finish();
    assert_eq!(tokenizer.vocab_size(), 4096);
    let ids: usize = documents
        .iter()
        .map(|document| tokenizer.encode(&document.text).len())
        .sum();
    let bytes: usize = documents.iter().map(|document| document.text.len()).sum();
    assert!(bytes > 4 * ids, "{bytes} bytes in {ids} tokens");
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), text in "[\",\n\r{}:a-c가\\\\]{0,60}") {
        for bytes in [&bytes, text.as_bytes()] {
            let fields = || vec!["a".to_owned()];
            TextPieces::new(bytes, "x".into()).for_each(drop);
            let rows: Vec<_> = JsonRows::new(bytes, "x".into(), fields()).take(300).collect();
            prop_assert!(rows.len() < 300);
            let rows: Vec<_> = CsvRows::new(bytes, "x".into(), fields()).take_while(Result::is_ok).collect();
            prop_assert!(rows.len() < 300);
        }
    }
}
