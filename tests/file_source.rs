//! The file source on real files: every form and compression, what is cut off, positions, and the daemon's batches.

#![expect(clippy::expect_used, reason = "a test may fail anywhere")]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use authwatch::event::{Reject, SourceName};
use authwatch::input::Input;
use authwatch::source::file::{Body, Config, File, FileError, Records};
use authwatch::source::{Batch, Position, ReadRecord};
use authwatch::telemetry::condition::{Conditions, Status};
use tempfile::TempDir;
use tokio::sync::{mpsc, watch};

const PATIENCE: Duration = Duration::from_secs(30);

struct Files(TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a directory"))
    }

    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, bytes).expect("writes");
        path
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).expect("compresses");
    encoder.finish().expect("compresses")
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 3).expect("begins");
    encoder.write_all(bytes).expect("compresses");
    encoder.finish().expect("compresses")
}

/// `count` records that do not compress to nothing.
fn lines(count: u64) -> String {
    let number = |n: u64| n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (0..count).map(|n| format!("{{\"n\":{n},\"noise\":\"{:x}{:x}\"}}\n", number(n), number(n + count))).collect()
}

/// Every record as `file:number:text`, every error by its text, until the end.
fn all(records: &mut Records) -> Vec<String> {
    let mut found = Vec::new();
    loop {
        found.push(match records.next() {
            Ok(Some(record)) => {
                let text = match record.body {
                    Body::Whole(bytes) => String::from_utf8_lossy(bytes).into_owned(),
                    Body::TooLarge => "…".to_owned(),
                };
                let file = record.file.file_name().expect("a name").to_string_lossy();
                format!("{file}:{}:{text}", record.number)
            }
            Ok(None) => return found,
            Err(error) => error.to_string(),
        });
    }
}

fn read(paths: &[PathBuf]) -> Vec<String> {
    all(&mut Records::open(paths).expect("opens"))
}

// Forms -------------------------------------------------------------------------------------------------------------

#[test]
fn files_of_every_form_are_read_in_order_and_numbered_from_one() {
    let files = Files::new();
    let paths = [
        files.write("a", b"\xef\xbb\xbf{\"a\":1}\r\n\r\n{\"a\":2}"),
        files.write("empty", b""),
        files.write("b", b"[\n  {\n    \"b\": \"],{\\\"\"\n  },\n  {}\n]\n"),
        files.write("c", b"{\n  \"c\": 1\n}\n{\n  \"c\": 2\n}\n"),
    ];
    let expect = [
        "a:1:{\"a\":1}",
        "a:2:{\"a\":2}",
        "b:1:{\n    \"b\": \"],{\\\"\"\n  }",
        "b:2:{}",
        "c:1:{\n  \"c\": 1\n}",
        "c:2:{\n  \"c\": 2\n}",
    ];
    assert_eq!(read(&paths), expect);
}

#[test]
fn compression_is_seen_by_its_first_bytes_whatever_the_name_says() {
    let text = lines(20_000);
    let whole = text.as_bytes();
    let (first, second) = whole.split_at(whole.len() / 3);
    let marked = [b"\xef\xbb\xbf", whole].concat();
    let skippable = [&[0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3], &*zstd(whole)].concat();
    let files = Files::new();
    let expect: Vec<String> = text.lines().enumerate().map(|(n, line)| format!("f.txt:{}:{line}", n + 1)).collect();
    for (form, bytes) in [
        ("plain", whole.to_vec()),
        ("gzip", gzip(whole)),
        ("two gzip members, torn within a record", [gzip(first), gzip(second)].concat()),
        ("zstd", zstd(whole)),
        ("two zstd frames, torn within a record", [zstd(first), zstd(second)].concat()),
        ("zstd behind a skippable frame", skippable),
        ("a mark within gzip", gzip(&marked)),
        ("a mark within zstd", zstd(&marked)),
    ] {
        assert!(read(&[files.write("f.txt", &bytes)]) == expect, "{form}");
    }
}

#[test]
fn a_record_over_the_limit_is_said_and_the_rest_goes_on() {
    let files = Files::new();
    let over = "x".repeat((1 << 20) + 1);
    let path = files.write("a", format!("1\n{over}\n2\n").as_bytes());
    assert_eq!(read(&[path]), ["a:1:1", "a:2:…", "a:3:2"]);
}

/// The test runs itself once more with its standard input fed, and reads what that run found.
#[test]
fn a_dash_is_standard_input() {
    const MARK: &str = "AUTHWATCH_TEST_READS_STDIN";
    if std::env::var_os(MARK).is_some() {
        println!("found {:?}", read(&[PathBuf::from("-")]));
        return;
    }
    let mut child = Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", "a_dash_is_standard_input", "--nocapture"])
        .env(MARK, "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("starts");
    child.stdin.take().expect("a pipe").write_all(&zstd(b"[1,\n2]")).expect("writes");
    let output = child.wait_with_output().expect("ends");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains(r#"found ["-:1:1", "-:2:2"]"#), "{text}");
}

// What is cut off or not there --------------------------------------------------------------------------------------

#[test]
fn a_file_cut_off_in_its_compression_gives_what_is_whole_then_its_name_and_the_offset_then_the_next_file() {
    let files = Files::new();
    let text = lines(20_000);
    for (form, bytes) in [("gzip", gzip(text.as_bytes())), ("zstd", zstd(text.as_bytes()))] {
        let cut = files.write("cut", &bytes[..bytes.len() / 2]);
        let next = files.write("next", b"1\n");
        let found = read(&[cut.clone(), next]);
        let error = found.iter().position(|line| line.starts_with("cannot read")).expect(form);
        let whole: Vec<String> =
            text.lines().take(error).enumerate().map(|(n, line)| format!("cut:{}:{line}", n + 1)).collect();
        assert!(found[..error] == whole, "{form}: every record before the cut, and only whole ones");
        assert!((5_000..15_000).contains(&error), "{form}: {error} of 20000 records before the cut");
        let offset: usize = whole.iter().zip(text.lines()).map(|(_, line)| line.len() + 1).sum();
        let said: usize = found[error]
            .strip_prefix(&format!("cannot read `{}` on after ", cut.display()))
            .and_then(|rest| rest.strip_suffix(" bytes of its plain content (the file may be cut off)"))
            .expect("name and offset")
            .parse()
            .expect("a number");
        let longest = text.lines().map(str::len).max().expect("lines") + 1;
        assert!((offset..offset + longest).contains(&said), "{form}: {said} is within the record at {offset}");
        assert_eq!(found[error + 1..], ["next:1:1"], "{form}");
    }
}

#[test]
fn a_file_cut_off_in_its_first_bytes_or_damaged_is_named() {
    let files = Files::new();
    for (form, bytes) in [
        ("gzip header", gzip(b"1\n")[..6].to_vec()),
        ("zstd header", zstd(b"1\n")[..5].to_vec()),
        ("gzip checksum", {
            let mut bytes = gzip(b"1\n");
            let at = bytes.len() - 6;
            bytes[at] ^= 0xff;
            bytes
        }),
        ("something behind gzip", [gzip(b"1\n"), b"garbage".to_vec()].concat()),
    ] {
        let path = files.write("bad", &bytes);
        let found = read(std::slice::from_ref(&path));
        let last = found.last().expect(form);
        assert!(last.starts_with(&format!("cannot read `{}` on after ", path.display())), "{form}: {found:?}");
    }
}

#[test]
fn an_array_that_never_closes_is_named_after_its_records() {
    let files = Files::new();
    let path = files.write("a", b"[{\"a\":1},{\"a\":2}");
    let error =
        format!("the JSON array in `{}` is not closed after 16 bytes (the file may be cut off)", path.display());
    assert_eq!(read(&[path]), ["a:1:{\"a\":1}", "a:2:{\"a\":2}", &error]);
}

#[test]
fn what_is_not_there_is_named_before_anything_is_read() {
    let files = Files::new();
    let good = files.write("a", b"1\n");
    let absent = files.0.path().join("absent");
    let error = Records::open(&[good.clone(), absent.clone()]).err().expect("not there");
    assert_eq!(error.to_string(), format!("cannot open `{}`", absent.display()));
    let source = std::error::Error::source(&error).expect("a source").to_string();
    assert!(source.contains("No such file"), "{source}");
    let error = Records::open(&[good.clone(), files.0.path().to_owned()]).err().expect("a directory");
    assert!(matches!(error, FileError::Directory { .. }), "{error}");

    let mut records = Records::open(&[good.clone(), good.clone()]).expect("opens");
    std::fs::remove_file(&good).expect("removes");
    let error = format!("cannot open `{}`", good.display());
    assert_eq!(all(&mut records), [error.clone(), error], "gone in the meantime: each is named, and it ends");
}

// Positions ---------------------------------------------------------------------------------------------------------

#[test]
fn from_every_position_the_rest_follows() {
    let files = Files::new();
    let paths = [files.write("a", b"1\n2\n3\n"), files.write("b", b""), files.write("c", &gzip(b"[4,5]"))];
    let whole = read(&paths);
    assert_eq!(whole.len(), 5);
    let mut records = Records::open(&paths).expect("opens");
    for done in 0..=whole.len() {
        let mut resumed = Records::open(&paths).expect("opens");
        resumed.skip_to(&records.position()).expect("is there");
        assert_eq!(resumed.position(), records.position());
        assert_eq!(all(&mut resumed), whole[done..], "after {done}");
        records.next().expect("reads");
    }
    assert_eq!(records.position(), Position::File { files_done: 3, records_done: 0 });
}

#[test]
fn a_position_that_the_files_do_not_hold_is_refused() {
    let files = Files::new();
    let paths = [files.write("a", b"1\n2\n"), files.write("b", b"3\n4\n5\n")];
    let skip = |position| Records::open(&paths).expect("opens").skip_to(&position).expect_err("refused");
    for (files_done, records_done) in [(0, 3), (0, 5), (1, 4), (2, 1), (3, 0), (u64::MAX, 0)] {
        let error = skip(Position::File { files_done, records_done });
        assert!(matches!(error, FileError::Shorter { .. }), "{files_done} {records_done}: {error}");
    }
    let error = skip(Position::File { files_done: 0, records_done: 3 }).to_string();
    assert!(error.starts_with("the files end before the stored position, 3 records into file 1"), "{error}");
    let error = skip(Position::Okta { next: "https://acme.okta.com/".into(), newest: None });
    assert!(matches!(error, FileError::OtherPosition), "{error}");
}

// The daemon's source -----------------------------------------------------------------------------------------------

/// Every record is a reject, so that the order can be read off the reasons; `{` begins an envelope of three.
fn reader() -> ReadRecord {
    Arc::new(|bytes, each| match bytes {
        [b'{', ..] => (0..3).for_each(|_| each(Err(Reject::NoEventType), None)),
        _ => each(Err(Reject::NotAnObject), None),
    })
}

async fn batches(paths: &[PathBuf], position: Option<Position>) -> (Vec<Batch>, Status) {
    let conditions = Conditions::default();
    let condition = conditions.declare("source/file", true, "not read yet");
    let config = Config { paths: paths.to_vec(), org: None };
    let file = File::new(&config, SourceName::new("file:acme"), position.as_ref(), reader(), condition).expect("opens");
    let (out, mut from) = mpsc::channel(2);
    let (_stop, shutdown) = watch::channel(false);
    let task = tokio::spawn(file.run(out, shutdown));
    let mut batches = Vec::new();
    while let Some(batch) = tokio::time::timeout(PATIENCE, from.recv()).await.expect("in time") {
        batches.push(batch);
    }
    task.await.expect("no panic");
    (batches, conditions.read()["source/file"].clone())
}

fn progress(caught_up: bool) -> Input {
    Input::Progress { source: SourceName::new("file:acme"), now: None, caught_up }
}

fn rejects(batches: &[Batch]) -> Vec<Reject> {
    let rejects = batches.iter().flat_map(|batch| &batch.inputs).filter_map(|input| match input {
        Input::Reject { reason, .. } => Some(*reason),
        Input::Configure(_)
        | Input::Event { .. }
        | Input::Progress { .. }
        | Input::Policies { .. }
        | Input::Members { .. } => None,
    });
    rejects.collect()
}

#[tokio::test]
async fn records_come_in_bounded_batches_and_the_last_one_says_that_it_is_the_last() {
    let files = Files::new();
    let paths = [files.write("a", "1\n".repeat(1_500).as_bytes()), files.write("b", "2\n".repeat(1_000).as_bytes())];
    let (batches, status) = batches(&paths, None).await;
    assert_eq!(rejects(&batches), [Reject::NotAnObject; 2_500]);
    let sizes: Vec<usize> = batches.iter().map(|batch| batch.inputs.len()).collect();
    assert_eq!(sizes, [1_001, 1_001, 502]);
    assert_eq!(batches.iter().map(|batch| batch.backlog).collect::<Vec<_>>(), [true, true, false]);
    assert!(batches.iter().all(|batch| batch.inputs[0] == progress(false)));
    assert_eq!(batches[2].inputs[501], progress(true));
    let caught_up = batches.iter().flat_map(|batch| &batch.inputs).filter(|input| **input == progress(true)).count();
    assert_eq!(caught_up, 1);
    let positions: Vec<_> = batches.iter().map(|batch| batch.position.clone()).collect();
    let position = |files_done, records_done| Some(Position::File { files_done, records_done });
    assert_eq!(positions, [position(0, 1_000), position(1, 500), position(2, 0)]);
    assert!(status.ok, "{}", status.detail);
}

#[tokio::test]
async fn a_stored_position_is_gone_on_from_and_after_the_end_there_is_only_the_word_of_it() {
    let files = Files::new();
    let paths = [files.write("a", b"1\n2\n3\n")];
    let (rest, _) = batches(&paths, Some(Position::File { files_done: 0, records_done: 2 })).await;
    assert_eq!(rejects(&rest).len(), 1);
    let (rest, status) = batches(&paths, Some(Position::File { files_done: 1, records_done: 0 })).await;
    assert_eq!(rest.len(), 1);
    assert_eq!(rest[0].inputs, [progress(false), progress(true)]);
    assert!(status.ok);
}

#[tokio::test]
async fn envelopes_count_by_what_is_in_them_so_that_a_batch_stays_bounded() {
    let files = Files::new();
    let (batches, _) = batches(&[files.write("a", "{}\n".repeat(400).as_bytes())], None).await;
    assert_eq!(rejects(&batches).len(), 1_200);
    assert!(batches.iter().all(|batch| batch.inputs.len() <= 1_004), "{}", batches[0].inputs.len());
    assert_eq!(batches.len(), 2);
}

#[tokio::test]
async fn a_broken_file_stays_reported_and_the_files_after_it_are_read() {
    let files = Files::new();
    let over = "x".repeat((1 << 20) + 1);
    let bytes = gzip(lines(1_000).as_bytes());
    let paths = [files.write("cut", &bytes[..20]), files.write("b", format!("1\n{over}\n2").as_bytes())];
    let (batches, status) = batches(&paths, None).await;
    assert_eq!(rejects(&batches), [Reject::NotAnObject, Reject::TooLarge, Reject::NotAnObject]);
    assert!(!status.ok);
    assert!(status.detail.starts_with(&format!("cannot read `{}`", paths[0].display())), "{}", status.detail);
    assert_eq!(batches.last().expect("a batch").inputs.last(), Some(&progress(true)));
}

#[tokio::test]
async fn it_stops_on_shutdown_although_nobody_takes_its_batches() {
    let files = Files::new();
    let conditions = Conditions::default();
    let config = Config { paths: vec![files.write("a", "1\n".repeat(9_000).as_bytes())], org: None };
    let condition = conditions.declare("source/file", true, "not read yet");
    let file = File::new(&config, SourceName::new("file:acme"), None, reader(), condition).expect("opens");
    let (out, from) = mpsc::channel(1);
    let (stop, shutdown) = watch::channel(false);
    let task = tokio::spawn(file.run(out, shutdown));
    let full = async {
        while from.is_empty() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(PATIENCE, full).await.expect("a batch in time");
    assert!(!task.is_finished(), "eight more batches wait");
    stop.send(true).expect("listening");
    tokio::time::timeout(PATIENCE, task).await.expect("stops").expect("no panic");
}

// Real data ---------------------------------------------------------------------------------------------------------

#[test]
fn every_line_of_the_public_samples_is_found() {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/data/okta-events/dev"));
    let Ok(entries) = std::fs::read_dir(folder) else {
        eprintln!("skipped: no samples at {}", folder.display());
        return;
    };
    let paths: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|end| end == "ndjson"))
        .collect();
    for path in &paths {
        let text = std::fs::read_to_string(path).expect("reads");
        let expect = text.lines().filter(|line| !line.trim().is_empty()).count();
        assert_eq!(read(std::slice::from_ref(path)).len(), expect, "{}", path.display());
    }
    assert!(!paths.is_empty(), "no samples in {}", folder.display());
}
